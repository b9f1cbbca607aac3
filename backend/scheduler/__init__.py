"""Where a server may go: filters that say no with a reason, weighers that rank the rest."""
