"""The API for consoles, the command line and scripts; :mod:`wire.console` is its contract."""
