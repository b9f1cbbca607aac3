"""What a server sends on an event stream."""

import msgspec


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One event to send; ``data`` is JSON."""

    name: str
    data: bytes
    event_id: str = ""
