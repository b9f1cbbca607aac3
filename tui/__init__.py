"""The console (Textual) and the command line: both know the backend only through ``tui.client``."""
