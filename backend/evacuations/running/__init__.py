"""What the leader does while a host is emptied: moves begin, end, fail and are planned anew."""
