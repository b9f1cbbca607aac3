"""Plans: lines with targets and times, and what is to be said of them."""
