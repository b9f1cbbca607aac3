"""What a move took, held against the forecast that it began with: time, bytes and pause each."""

import msgspec

from tui.formats.units import duration_text
from wire.evacuation import EvacuatedServer
from wire.forecast import Forecast

_MORE_TIMES = 1.5
"""A forecast has no band for bytes: so much of its time's is usual."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the three came as forecast; all are told of a move that has ended and took time."""

    in_band: bool
    as_much_sent: bool | None
    """None of one that took several tries: its bytes are those of all."""
    no_longer_paused: bool


def held(server: EvacuatedServer) -> Held | None:
    """Judge a move; None where it has not ended, or nothing was really forecast of it."""
    took, told = took_ms(server), forecast_of(server)
    if not took or told is None or not told.link_seen:
        return None
    return Held(
        in_band=told.low_ms <= took <= told.high_ms,
        as_much_sent=None if server.tries > 1 else not sent_more(server, told),
        no_longer_paused=not paused_longer(server, told),
    )


def sent_more(server: EvacuatedServer, told: Forecast) -> bool:
    """Whether it sent clearly more than was expected."""
    return server.tries <= 1 and server.sent_bytes > told.sent_bytes * _MORE_TIMES


def paused_longer(server: EvacuatedServer, told: Forecast) -> bool:
    """Whether it paused for longer than was expected, in the figures that are shown."""
    pause_ms = server.downtime_ms or 0
    shown = duration_text(pause_ms) != duration_text(told.downtime_ms)
    return pause_ms > told.downtime_ms and shown


def forecast_of(server: EvacuatedServer) -> Forecast | None:
    """The forecast that a server's move began with, or that of its plan before that."""
    return server.forecast or server.plan.forecast


def took_ms(server: EvacuatedServer) -> int:
    """How long its latest try took; 0 while it is under way, and if there was none."""
    if server.state.open or not (server.started_at_ms and server.ended_at_ms):
        return 0
    return max(0, server.ended_at_ms - server.started_at_ms)
