"""Migrations: from the request over the journal to the true outcome."""
