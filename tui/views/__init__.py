"""What each view shows: pure functions from the fleet's structs to toned text."""
