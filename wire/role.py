"""What a token may do."""

from enum import StrEnum


class Role(StrEnum):
    """The roles of tokens."""

    VIEWER = "viewer"
    """Look at everything."""
    OPERATOR = "operator"
    """Act besides."""
