"""The console's screens: keys and layout; what they show comes from ``tui.views``."""
