"""Emptying a host: the plan, its course, and what people do about it."""
