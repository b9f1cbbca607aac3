"""States as a glyph and a word, so that colour never carries the meaning alone."""

import msgspec

from tui.formats.health import health_word, host_word
from tui.paint import Span, Tone
from tui.plot import GraphStyle
from wire.fleet import HostView, ServerStatus
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


def host_span(host: HostView, glyphs: Glyphs) -> Span:
    """How a host is, in the word that says most."""
    word = host_word(host)
    glyph, tone = {
        "online": (glyphs.good, Tone.GOOD),
        "late": (glyphs.warn, Tone.WARN),
        "shutdown": (glyphs.warn, Tone.WARN),
        "unreachable": (glyphs.warn, Tone.WARN),
        "offline": (glyphs.bad, Tone.BAD),
        "dead": (glyphs.bad, Tone.BAD),
        "unknown": (glyphs.unknown, Tone.WARN),
    }[word]
    return Span(f"{glyph} {word}", tone)


def health_span(health: HostHealth, glyphs: Glyphs) -> Span:
    """A host's health key."""
    word = health_word(health)
    glyph, tone = {
        "present": (glyphs.good, Tone.GOOD),
        "late": (glyphs.warn, Tone.WARN),
        "lost": (glyphs.bad, Tone.BAD),
        "dead": (glyphs.bad, Tone.BAD),
    }[word]
    return Span(f"{glyph} {word}", tone)


def incident_span(state: IncidentState, glyphs: Glyphs) -> Span:
    """How far the case of a lost host is."""
    glyph, tone = {
        IncidentState.PROVING: (glyphs.unknown, Tone.WARN),
        IncidentState.HELD: (glyphs.warn, Tone.BAD),
        IncidentState.RESCUING: (glyphs.busy, Tone.BUSY),
        IncidentState.RESCUED: (glyphs.fits, Tone.GOOD),
        IncidentState.ENDED: (glyphs.off, Tone.DIM),
    }[state]
    return Span(f"{glyph} {state}", tone)


def rescue_span(state: RescueState, glyphs: Glyphs) -> Span:
    """What became of one server of a lost host."""
    glyph, tone = {
        RescueState.WAITING: (glyphs.unknown, Tone.WARN),
        RescueState.STARTING: (glyphs.busy, Tone.BUSY),
        RescueState.RESCUED: (glyphs.fits, Tone.GOOD),
        RescueState.SKIPPED: (glyphs.off, Tone.DIM),
        RescueState.FAILED: (glyphs.bad, Tone.BAD),
        RescueState.RETURNED: (glyphs.good, Tone.GOOD),
    }[state]
    return Span(f"{glyph} {state}", tone)


def server_span(status: ServerStatus, glyphs: Glyphs) -> Span:
    """A server's status, in climc's word."""
    glyph, tone = {
        ServerStatus.READY: (glyphs.off, Tone.DIM),
        ServerStatus.RUNNING: (glyphs.good, Tone.GOOD),
        ServerStatus.SUSPEND: (glyphs.off, Tone.WARN),
        ServerStatus.UNKNOWN: (glyphs.unknown, Tone.WARN),
        ServerStatus.START_MIGRATE: (glyphs.busy, Tone.BUSY),
        ServerStatus.MIGRATING: (glyphs.busy, Tone.BUSY),
        ServerStatus.LIVE_MIGRATING: (glyphs.busy, Tone.BUSY),
        ServerStatus.MIGRATE_FAILED: (glyphs.bad, Tone.BAD),
    }[status]
    return Span(f"{glyph} {status}", tone)


def migration_span(state: MigrationState, glyphs: Glyphs) -> Span:
    """A migration's state."""
    glyph, tone = {
        MigrationState.QUEUED: (glyphs.off, Tone.BUSY),
        MigrationState.SUCCEEDED: (glyphs.fits, Tone.GOOD),
        MigrationState.FAILED: (glyphs.bad, Tone.BAD),
        MigrationState.CANCELLED: (glyphs.warn, Tone.WARN),
    }.get(state, (glyphs.busy, Tone.BUSY))
    return Span(f"{glyph} {state.replace('_', ' ')}", tone)


def bar(share: float, width: int, glyphs: Glyphs) -> str:
    """A bar of this many cells; anything above nothing fills at least one."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    if share > 0 and not filled:
        filled = 1
    return glyphs.full * filled + glyphs.empty * (width - filled)
