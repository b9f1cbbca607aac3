"""What a move will take, before it begins: time, bytes, pause, and whether it converges at all."""
