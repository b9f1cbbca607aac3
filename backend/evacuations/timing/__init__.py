"""When moves begin and how long they take: pace, links, times, and whether a deadline is kept."""
