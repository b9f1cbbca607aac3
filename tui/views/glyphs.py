"""States as a glyph and a word, so that colour never carries the meaning alone."""

import msgspec

from tui.paint import Span, Tone
from tui.plot import GraphStyle
from wire.fleet import HostStatus, ServerStatus
from wire.migration import MigrationState


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


def host_span(status: HostStatus, glyphs: Glyphs) -> Span:
    """A host's health."""
    glyph, tone = {
        HostStatus.ONLINE: (glyphs.good, Tone.GOOD),
        HostStatus.UNREACHABLE: (glyphs.warn, Tone.WARN),
        HostStatus.OFFLINE: (glyphs.bad, Tone.BAD),
        HostStatus.UNKNOWN: (glyphs.unknown, Tone.WARN),
    }[status]
    return Span(f"{glyph} {status}", tone)


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
