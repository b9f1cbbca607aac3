"""The top line of every screen: who we are, to whom we speak, and whether what is shown is live."""

import msgspec

from tui.paint import Line, Span, Tone, length, line, spread
from tui.store import Link, Store
from tui.views.glyphs import Glyphs


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the console itself adds to what the store knows."""

    address: str
    """``10.77.1.2:8700``."""
    read_only: bool = False
    paused: bool = False


def top_line(store: Store, session: Session, width: int, glyphs: Glyphs) -> Line:
    """Lay the line out; the counts give way first, then the name of the token."""
    right = _counts(store)
    for with_token in (True, False):
        left = _left(store, session, glyphs, with_token=with_token)
        if length(left) + length(right) + 1 <= width:
            return spread(left, right, width)
    return spread(left, (), width)


def _left(store: Store, session: Session, glyphs: Glyphs, *, with_token: bool) -> Line:
    spans: list[Span] = [Span("godwit", Tone.TITLE), Span(f" {session.address} ")]
    if session.read_only:
        spans += [Span(" READ-ONLY ", Tone.BADGE), Span(" ")]
    if session.paused:
        spans += [Span(" PAUSED ", Tone.BADGE), Span(" ")]
    if store.status and with_token:
        spans.append(Span(f"{store.status.token_name} ({store.status.role}) ", Tone.DIM))
    spans += [Span(" "), _link(store, glyphs)]
    if store.link is Link.LOST and store.complete:
        spans.append(Span(", shown as it was", Tone.WARN))
    spans += [Span("  "), _etcd(store, glyphs)]
    if store.status and not store.status.leading:
        spans.append(Span(f"  {glyphs.warn} standby", Tone.WARN))
    return tuple(spans)


def _link(store: Store, glyphs: Glyphs) -> Span:
    """Whether what is shown is live, or since when it is not."""
    if store.link is Link.LIVE:
        return Span(f"{glyphs.good} live", Tone.GOOD)
    if store.link is Link.CONNECTING:
        return Span(f"{glyphs.busy} connecting", Tone.BUSY)
    if not store.complete:
        return Span(f"{glyphs.bad} not connected", Tone.BAD)
    return Span(f"{glyphs.bad} lost {store.lost_for_s()} s ago", Tone.BAD)


def _etcd(store: Store, glyphs: Glyphs) -> Span:
    if store.status is None or store.link is not Link.LIVE:
        return Span(f"{glyphs.unknown} etcd", Tone.WARN)
    if store.status.etcd_ok:
        return Span(f"{glyphs.good} etcd", Tone.GOOD)
    return Span(f"{glyphs.bad} etcd silent", Tone.BAD)


def _counts(store: Store) -> Line:
    if not store.complete:
        return ()
    moving = len(store.under_way())
    counts = [_count(len(store.hosts), "host"), _count(len(store.servers), "server")]
    text = " ".join([*counts, *([f"{moving} moving"] if moving else [])])
    return line(Span(text, Tone.PLAIN))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
