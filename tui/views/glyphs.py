"""States as a glyph and a word, so that colour never carries the meaning alone."""

import msgspec

from tui.formats.evacuation import state_word
from tui.formats.health import health_word, host_word
from tui.paint import Span, Tone
from tui.plot import GraphStyle
from wire.evacuation import EvacuationKind, EvacuationState, MoveState
from wire.fleet import HostView, ServerStatus
from wire.forecast import Basis, Ease, Forecast
from wire.migration import MigrationState
from wire.rescue import HostHealth, IncidentState, RescueState


class Glyphs(msgspec.Struct, frozen=True, kw_only=True):
    """The marks of one style."""

    good: str = "●"
    off: str = "○"
    busy: str = "◐"
    warn: str = "▲"
    bad: str = "✖"
    unknown: str = "?"
    fits: str = "✔"
    same: str = "="
    differs: str = "≠"
    arrow: str = "→"
    full: str = "█"
    empty: str = "░"
    rule: str = "─"
    dotted: str = "┄"
    tick: str = "┴"
    corner: str = "└"
    side: str = "│"
    boundary: str = "┊"
    rise: str = "┤"


UNICODE = Glyphs()
ASCII = Glyphs(
    good="o",
    off="-",
    busy="~",
    warn="!",
    bad="x",
    fits="+",
    differs="#",
    arrow="->",
    full="#",
    empty=".",
    rule="-",
    dotted="-",
    tick="+",
    corner="+",
    side="|",
    boundary=":",
    rise="|",
)


def glyphs_of(style: GraphStyle) -> Glyphs:
    """Choose the marks for a style; only the ASCII one gives up Unicode."""
    return ASCII if style is GraphStyle.ASCII else UNICODE


Look = tuple[str, Tone]
"""Which of the marks a state has, and its tone."""

_HEALTH: dict[str, Look] = {
    "online": ("good", Tone.GOOD),
    "present": ("good", Tone.GOOD),
    "late": ("warn", Tone.WARN),
    "shutdown": ("warn", Tone.WARN),
    "unreachable": ("warn", Tone.WARN),
    "offline": ("bad", Tone.BAD),
    "lost": ("bad", Tone.BAD),
    "dead": ("bad", Tone.BAD),
    "unknown": ("unknown", Tone.WARN),
}
_INCIDENT: dict[IncidentState, Look] = {
    IncidentState.PROVING: ("unknown", Tone.WARN),
    IncidentState.HELD: ("warn", Tone.BAD),
    IncidentState.RESCUING: ("busy", Tone.BUSY),
    IncidentState.RESCUED: ("fits", Tone.GOOD),
    IncidentState.ENDED: ("off", Tone.DIM),
}
_RESCUE: dict[RescueState, Look] = {
    RescueState.WAITING: ("unknown", Tone.WARN),
    RescueState.STARTING: ("busy", Tone.BUSY),
    RescueState.RESCUED: ("fits", Tone.GOOD),
    RescueState.SKIPPED: ("off", Tone.DIM),
    RescueState.FAILED: ("bad", Tone.BAD),
    RescueState.RETURNED: ("good", Tone.GOOD),
}
_SERVER: dict[ServerStatus, Look] = {
    ServerStatus.READY: ("off", Tone.DIM),
    ServerStatus.RUNNING: ("good", Tone.GOOD),
    ServerStatus.SUSPEND: ("off", Tone.WARN),
    ServerStatus.UNKNOWN: ("unknown", Tone.WARN),
    ServerStatus.START_MIGRATE: ("busy", Tone.BUSY),
    ServerStatus.MIGRATING: ("busy", Tone.BUSY),
    ServerStatus.LIVE_MIGRATING: ("busy", Tone.BUSY),
    ServerStatus.MIGRATE_FAILED: ("bad", Tone.BAD),
}
_MIGRATION: dict[MigrationState, Look] = {
    MigrationState.QUEUED: ("off", Tone.BUSY),
    MigrationState.SUCCEEDED: ("fits", Tone.GOOD),
    MigrationState.FAILED: ("bad", Tone.BAD),
    MigrationState.CANCELLED: ("warn", Tone.WARN),
}
"""Those that are not here are under way."""
_EVACUATION: dict[EvacuationState, Look] = {
    EvacuationState.RUNNING: ("busy", Tone.BUSY),
    EvacuationState.PAUSED: ("warn", Tone.WARN),
    EvacuationState.CANCELLING: ("warn", Tone.WARN),
    EvacuationState.ENDED: ("off", Tone.DIM),
}
_MOVE: dict[MoveState, Look] = {
    MoveState.WAITING: ("off", Tone.BUSY),
    MoveState.MOVING: ("busy", Tone.BUSY),
    MoveState.LEFT: ("fits", Tone.GOOD),
    MoveState.STAYED: ("off", Tone.DIM),
    MoveState.FAILED: ("bad", Tone.BAD),
    MoveState.CANCELLED: ("warn", Tone.WARN),
}
_EASE: dict[Ease, Look] = {
    Ease.EASY: ("good", Tone.PLAIN),
    Ease.HEAVY: ("warn", Tone.WARN),
    Ease.STUCK: ("bad", Tone.BAD),
}


def host_span(host: HostView, glyphs: Glyphs) -> Span:
    """How a host is, in the word that says most."""
    word = host_word(host)
    return _span(word, _HEALTH[word], glyphs)


def health_span(health: HostHealth, glyphs: Glyphs) -> Span:
    """A host's health key."""
    word = health_word(health)
    return _span(word, _HEALTH[word], glyphs)


def incident_span(state: IncidentState, glyphs: Glyphs) -> Span:
    """How far the case of a lost host is."""
    return _span(state, _INCIDENT[state], glyphs)


def rescue_span(state: RescueState, glyphs: Glyphs) -> Span:
    """What became of one server of a lost host."""
    return _span(state, _RESCUE[state], glyphs)


def server_span(status: ServerStatus, glyphs: Glyphs) -> Span:
    """A server's status, in climc's word."""
    return _span(status, _SERVER[status], glyphs)


def migration_span(state: MigrationState, glyphs: Glyphs) -> Span:
    """A migration's state."""
    return _span(state.replace("_", " "), _MIGRATION.get(state, ("busy", Tone.BUSY)), glyphs)


def evacuation_span(state: EvacuationState, glyphs: Glyphs) -> Span:
    """What an evacuation does."""
    return _span(state, _EVACUATION[state], glyphs)


def move_span(kind: EvacuationKind, state: MoveState, glyphs: Glyphs) -> Span:
    """How far one server of an evacuation, a rescue or a return is."""
    return _span(state_word(kind, state), _MOVE[state], glyphs)


def ease_span(forecast: Forecast, glyphs: Glyphs) -> Span:
    """How a server has to be moved; ``?`` after what nobody has measured."""
    doubt = " ?" if forecast.basis is Basis.GUESSED else ""
    return _span(f"{forecast.ease}{doubt}", _EASE[forecast.ease], glyphs)


def _span(word: str, look: Look, glyphs: Glyphs) -> Span:
    mark, tone = look
    return Span(f"{getattr(glyphs, mark)} {word}", tone)


def bar(share: float, width: int, glyphs: Glyphs) -> str:
    """A bar of this many cells; anything above nothing fills at least one."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    if share > 0 and not filled:
        filled = 1
    return glyphs.full * filled + glyphs.empty * (width - filled)
