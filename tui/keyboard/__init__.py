"""What each key does, a table for each subject."""
