"""A server's files, and their way to another host."""
