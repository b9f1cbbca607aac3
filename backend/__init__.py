"""Godwit's backend: the fleet model, the API for consoles, placement and migrations."""
