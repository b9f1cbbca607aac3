"""Evacuations as they happen, on stderr: what became of each server, and one line of figures."""

import time
from collections import Counter
from collections.abc import Callable
from typing import IO

from tui.commands.status_line import StatusLine
from tui.formats.against_forecast import took_ms
from tui.formats.evacuation import gone_text, state_word, what_is_done
from tui.formats.units import bytes_text, duration_text, moment_text, rate_text
from wire.evacuation import EvacuatedServer, Evacuation, EvacuationState, MoveState

_EVERY_S = 1.0
"""The line of figures changes no more often."""


class EvacuationProgress:
    """Draws what a :class:`tui.following.EvacuationWatcher` is told.

    On a terminal the last line is rewritten, at most once a second. Elsewhere the figures are
    written only when a server has moved on, at most once a second too.
    """

    def __init__(
        self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._status = StatusLine(stream, "the evacuation")
        self._clock = clock
        self._known: dict[str, Evacuation] = {}
        self._told: set[tuple[object, ...]] = set()
        """What was said of servers: a record that was read may be newer than events to come."""
        self._drawn_at_s = -_EVERY_S
        self._drawn_counts = ""

    def on_evacuation(self, evacuation: Evacuation) -> None:
        """Tell what is new, and draw the figures."""
        before = self._known.get(evacuation.evacuation_id)
        self._known[evacuation.evacuation_id] = evacuation
        for note in evacuation.notes[len(before.notes) if before else 0 :]:
            by = f" (by {note.by})" if note.by else ""
            self._tell(evacuation, f"{note.text}{by}")
        for server in evacuation.servers:
            stage = (server.plan.server_id, server.state, server.tries, server.migration_id)
            if stage not in self._told:
                self._told.add(stage)
                self._tell(evacuation, _news(evacuation, server))
        if before is None or before.state is not evacuation.state:
            self._tell(evacuation, f"{evacuation.state}: {what_is_done(evacuation)}")
        self._draw()

    def on_link(self, reason: str) -> None:
        """Say once that the connection broke, and once that it is back."""
        self._status.on_link(reason)

    def close(self) -> None:
        """Take the rewritten line away."""
        self._status.close()

    def _tell(self, evacuation: Evacuation, text: str) -> None:
        if text:
            self._status.line(f"{evacuation.host_name}: {text}")

    def _draw(self) -> None:
        under_way = [each for each in self._known.values() if each.open]
        counts = "; ".join(_counts(each) for each in under_way)
        now_s = self._clock()
        if not under_way or now_s - self._drawn_at_s < _EVERY_S:
            return
        if not self._status.rewrites and counts == self._drawn_counts:
            return
        self._drawn_at_s, self._drawn_counts = now_s, counts
        text = "; ".join(f"{_counts(each)}{_figures(each)}" for each in under_way)
        if self._status.rewrites:
            self._status.redraw(text)
        else:
            self._status.line(text)


def _news(evacuation: Evacuation, server: EvacuatedServer) -> str:
    """What became of one server, in one clause; empty of one that only waits its turn."""
    name, target = server.plan.server_name, server.plan.target_host_name
    if server.state is MoveState.MOVING:
        again = f", try {server.tries}" if server.tries > 1 else ""
        return f"{name} goes to {target}{again}"
    if server.state is MoveState.WAITING:
        return f"{name} waits: {server.reason}" if server.reason else ""
    word = state_word(evacuation.kind, server.state)
    if server.state is not MoveState.LEFT:
        reason = server.reason or server.plan.why
        return f"{name} {word}: {reason}" if reason else f"{name} {word}"
    took = took_ms(server)
    figures = [duration_text(took)] if took else []
    if server.downtime_ms is not None:
        figures.append(f"pause {duration_text(server.downtime_ms)}")
    if server.sent_bytes:
        figures.append(f"{bytes_text(server.sent_bytes)} sent")
    told = "; ".join(part for part in (", ".join(figures), server.reason) if part)
    return f"{name} {word}, on {target}" + (f": {told}" if told else "")


def _counts(evacuation: Evacuation) -> str:
    counts = Counter(each.state for each in evacuation.servers)
    parts = [evacuation.host_name, gone_text(evacuation)]
    others = (MoveState.MOVING, MoveState.WAITING, MoveState.FAILED)
    parts += [f"{counts[each]} {each}" for each in others if counts[each]]
    if evacuation.state is not EvacuationState.RUNNING:
        parts.append(str(evacuation.state))
    elif not counts[MoveState.MOVING] and (halted := _halted(evacuation)):
        parts.append(halted)
    return "  ".join(parts)


def _halted(evacuation: Evacuation) -> str:
    """What it waits for while nothing moves, such as a lever that a person has to choose."""
    waiting = [each for each in evacuation.servers if each.state is MoveState.WAITING]
    told = next((each for each in waiting if each.reason), None)
    return f"{told.plan.server_name} waits: {told.reason}" if told else ""


def _figures(evacuation: Evacuation) -> str:
    parts = []
    if evacuation.sending_bytes_per_s:
        parts.append(rate_text(evacuation.sending_bytes_per_s))
    if evacuation.finish_at_ms:
        parts.append(f"done {moment_text(evacuation.finish_at_ms)}")
    return "".join(f"  {part}" for part in parts)
