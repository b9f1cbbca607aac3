"""The console's own widgets: each draws lines and repaints only the cells that changed."""
