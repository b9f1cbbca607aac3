"""One round of the fence: read the agent's word, kill what must be dead, pet the card or not."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from hostagent.fence.card import CardError
from hostagent.fence.deadline import FenceTimes, fence_times, refusal, wished_timeout_s
from hostagent.fence.guests import GuestProcess
from hostagent.fence.word import Status, Word

_LATE_S = 0.5
"""A round that took longer was frozen in between: what it saw of the guests is too old."""
_REOPEN_S = 1.0


class OpenCard(Protocol):
    """What the fence asks of an open watchdog card."""

    timeout_s: int

    def pet(self) -> None:
        """Let it count anew."""

    def stop(self) -> None:
        """Stop its count."""

    def leave(self) -> None:
        """Close it while it counts."""


class Host(NamedTuple):
    """What a round does to its host."""

    clock: Callable[[], float]
    """Seconds of CLOCK_BOOTTIME."""
    read_word: Callable[[], Word | None]
    open_card: Callable[[int], OpenCard]
    """With this time-out in seconds, unless another is configured."""
    find_guests: Callable[[], tuple[GuestProcess, ...]]
    kill: Callable[[GuestProcess], None]
    is_gone: Callable[[GuestProcess], bool]
    say: Callable[[str], None]


class Fence:
    """The state between rounds."""

    def __init__(self, host: Host, *, pid: int, etcd_timeout_s: float) -> None:
        self._host = host
        self._pid = pid
        self._etcd_timeout_s = etcd_timeout_s
        self._word: Word | None = None
        self._card: OpenCard | None = None
        self._timeout_s = 0
        self._dying: set[GuestProcess] = set()
        self._killed: set[GuestProcess] = set()
        self._kills = 0
        self._detail = ""
        self._reopen_at_s = 0.0
        self._silent = False

    def round(self) -> Status:
        """Do what this moment asks for, and tell what is in force."""
        began_s = self._host.clock()
        fresh = self._host.read_word()
        if fresh is not None and fresh.t_ok_s <= began_s:
            self._word = fresh  # else the last one holds on, and grows old
        word = self._word
        if word is None or not word.armed:
            self._disarm()
        else:
            self._hold_card(word, began_s)
            self._keep(word, began_s)
        return Status(
            at_s=self._host.clock(),
            pid=self._pid,
            armed=self._card is not None,
            watchdog_timeout_s=0 if self._card is None else self._card.timeout_s,
            detail=self._detail,
            kills=self._kills,
        )

    def end(self, *, host_shuts_down: bool) -> None:
        """This process is told to end.

        An armed card goes on counting: the next process takes it over in time, or it fires. Only
        a host that shuts down, and has no guest left, is not reset on its way.
        """
        if self._card is None:
            return
        stays = () if self._word is None else self._word.may_stay
        if host_shuts_down and not self._doomed(stays):
            self._host.say("the host shuts down and has no guest left: the card is stopped")
            self._card.stop()
        else:
            self._host.say("ends under an armed card, which fires unless it is taken over")
            self._card.leave()
        self._card = None

    def _disarm(self) -> None:
        self._detail = ""
        self._dying.clear()
        if self._card is not None:
            self._card.stop()
            self._card = None
            self._host.say("disarmed")

    def _hold_card(self, word: Word, now_s: float) -> None:
        """Open the card if it is not; a word that asks for the impossible is refused."""
        if self._card is not None or now_s < self._reopen_at_s:
            return
        self._reopen_at_s = now_s + _REOPEN_S
        try:
            card = self._host.open_card(wished_timeout_s(word.ttl_s))
        except CardError as error:
            self._refuse(str(error))
            return
        times = fence_times(word.ttl_s, watchdog_timeout_s=card.timeout_s)
        why = refusal(times, etcd_timeout_s=self._etcd_timeout_s)
        if why:
            card.stop()
            self._refuse(why)
            return
        self._card, self._timeout_s, self._detail = card, card.timeout_s, ""
        self._host.say(f"armed: the card fires {card.timeout_s} s after it was last petted")

    def _refuse(self, why: str) -> None:
        if why != self._detail:
            self._host.say(f"not armed: {why}")
        self._detail = why

    def _keep(self, word: Word, began_s: float) -> None:
        """Kill what must be dead by now; pet while that is right."""
        times = self._times(word)
        none_left = False
        if self._host.clock() >= times.kill_from(word.t_ok_s):
            doomed = self._doomed(word.may_stay)
            for guest in doomed:
                self._kill(guest, word, times)
            none_left = not doomed
        else:
            self._dying.clear()
        # the clock is read again: this process may have been frozen at any line above
        now_s = self._host.clock()
        fresh_look = none_left and now_s - began_s < _LATE_S
        if now_s <= times.pet_until(word.t_ok_s) or fresh_look:
            self._pet()
        elif not self._silent and self._card is not None:
            self._host.say("guests live that should be dead: the card is not petted any more")
            self._silent = True

    def _times(self, word: Word) -> FenceTimes:
        # a card that was lost still counts
        timeout_s = self._timeout_s or wished_timeout_s(word.ttl_s)
        return fence_times(word.ttl_s, watchdog_timeout_s=timeout_s)

    def _doomed(self, may_stay: tuple[str, ...]) -> tuple[GuestProcess, ...]:
        """Guests that live and must not, those on their way out included."""
        found = {guest for guest in self._host.find_guests() if guest.server_id not in may_stay}
        self._dying = {guest for guest in found | self._dying if not self._host.is_gone(guest)}
        return tuple(sorted(self._dying))

    def _kill(self, guest: GuestProcess, word: Word, times: FenceTimes) -> None:
        self._host.kill(guest)
        if guest in self._killed:
            return
        self._killed.add(guest)
        self._kills += 1
        silent_s = self._host.clock() - word.t_ok_s
        self._host.say(
            f"killed the guest {guest.server_id or 'without a name'} (process {guest.pid}): etcd "
            f"was last heard {silent_s:.2f} s ago, and it must be dead {times.dead_by(0.0):.2f} s "
            "after that"
        )

    def _pet(self) -> None:
        self._silent = False
        if self._card is None:
            return
        try:
            self._card.pet()
        except CardError as error:
            self._card.leave()
            self._card = None
            self._refuse(str(error))
