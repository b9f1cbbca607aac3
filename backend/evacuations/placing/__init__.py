"""How each server leaves and where to: ways, options, wishes, and targets with room for it."""
