"""What ends a verb or marks the console as disconnected, besides the backend's own refusals."""


class BackendUnreachable(Exception):
    """No usable answer from the backend; the message is one sentence that names its address."""
