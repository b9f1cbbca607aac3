"""One round of the fence: read the agent's word, kill what must be dead, pet the card or not."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from hostagent.fence.card import CardError
from hostagent.fence.deadline import FenceTimes, fence_times, refusal, wished_timeout_s
from hostagent.fence.guests import Process
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
    find_guests: Callable[[], tuple[Process, ...]]
    find_libvirt: Callable[[], tuple[Process, ...]]
    cached_disk: Callable[[Process], str]
    kill: Callable[[Process], None]
    is_gone: Callable[[Process], bool]
    was_fenced: Callable[[], bool]
    """When an earlier start of it ended."""
    set_mark: Callable[[], None]
    """For the next start."""
    remove_mark: Callable[[], None]
    say: Callable[[str], None]


class Fence:
    """The state between rounds.

    Once it has fired, it goes on killing until the host has begun another life: a start that was
    under way may make a guest appear at any time. libvirt's daemon dies first, and with it every
    call that waits in it.

    A machine that has just been started may still count as the life before, which was fenced:
    until its agent has begun another one, whatever appears on it is killed.
    """

    def __init__(
        self, host: Host, *, pid: int, etcd_timeout_s: float, earlier: Status | None = None
    ) -> None:
        """Begin.

        Args:
            host: what a round does.
            pid: this process's, for the status.
            etcd_timeout_s: of a call to etcd.
            earlier: what the process before this one told, in this start of the machine.
        """
        self._host = host
        self._pid = pid
        self._etcd_timeout_s = etcd_timeout_s
        self._fired_epoch = 0 if earlier is None else earlier.fired_epoch
        self._word: Word | None = None
        self._card: OpenCard | None = None
        self._timeout_s = 0 if earlier is None else earlier.watchdog_timeout_s
        """Of the card that was opened since this host was last disarmed; 0 if none was. It counts
        although it may be lost by now, and others go by what was said of it."""
        self._firing = False
        self._dying: set[Process] = set()
        self._killed: set[Process] = set()
        self._cached = earlier is not None and earlier.cached
        self._silent = False
        self._detail = ""
        self._reopen_at_s = 0.0
        self._was_fenced = host.was_fenced()
        self._marked = True
        """As far as is known: what an earlier process left is removed too."""

    def round(self) -> Status:
        """Do what this moment asks for, and tell what is in force."""
        began_s = self._host.clock()
        fresh = self._host.read_word()
        if fresh is not None and fresh.t_ok_s <= began_s:
            self._word = fresh  # else the last one holds on, and grows old
        word = self._word
        if self._was_fenced and (word is None or not word.begun):
            self._keep_empty()
        if word is None:
            self._detail = ""
        elif not word.armed:
            self._disarm(word)
        else:
            self._hold_card(word, began_s)
            if self._timeout_s:
                self._keep(word, began_s)
        return Status(
            at_s=began_s,
            pid=self._pid,
            armed=self._card is not None,
            watchdog_timeout_s=self._timeout_s,
            detail=self._detail,
            fired_epoch=self._fired_epoch,
            cached=self._cached,
        )

    def _keep_empty(self) -> None:
        """Kill every guest: the agent starts none yet, and others may start any."""
        for guest in self._host.find_guests():
            if guest not in self._killed and guest.server_id:
                self._host.say(
                    f"kills the guest {guest.server_id}, process {guest.pid}: this host was fenced "
                    "when it was last heard of, and has begun no other life since its start"
                )
            self._killed.add(guest)
            self._host.kill(guest)

    def _disarm(self, word: Word) -> None:
        self._detail = ""
        self._calm()
        if self._card is None and self._timeout_s:
            self._find_again()  # it counts, and the process before this one, or a fault, left it
        self._timeout_s = 0
        if self._card is not None:
            self._card.stop()
            self._card = None
            self._host.say("disarmed")
        if self._marked and word.begun:
            self._unmark()

    def _find_again(self) -> None:
        try:
            self._card = self._host.open_card(self._timeout_s)
        except CardError as error:
            self._host.say(f"not disarmed, and perhaps counting: {error}")

    def _unmark(self) -> None:
        try:
            self._host.remove_mark()
        except OSError as error:
            self._refuse(f"its mark is not removed: {error}")
        else:
            self._marked = False

    def _calm(self) -> None:
        self._firing = self._cached = False
        self._dying.clear()
        self._killed.clear()

    def _hold_card(self, word: Word, now_s: float) -> None:
        """Open the card if it is not; a word that asks for the impossible is refused."""
        if self._card is not None or now_s < self._reopen_at_s:
            return
        self._reopen_at_s = now_s + _REOPEN_S
        try:
            self._host.set_mark()
            self._marked = True
        except OSError as error:
            self._refuse(f"its mark is not written: {error}")
            return
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
        times = fence_times(word.ttl_s, watchdog_timeout_s=self._timeout_s)
        none_left = False
        if self._host.clock() >= times.kill_from(word.t_ok_s) or word.epoch <= self._fired_epoch:
            none_left = self._fire(word, times)
        elif self._firing:
            self._host.say(f"life {word.epoch} of this host has begun: nobody is killed any more")
            self._calm()
        # the clock is read again: this process may have been frozen at any line above
        now_s = self._host.clock()
        fresh_look = none_left and now_s - began_s < _LATE_S
        if now_s <= times.pet_until(word.t_ok_s) or fresh_look:
            self._pet()
        elif not self._silent and self._card is not None:
            self._host.say("a guest may still write: the card is not petted any more")
            self._silent = True

    def _fire(self, word: Word, times: FenceTimes) -> bool:
        """Kill; whether nothing is left that may write."""
        if not self._firing:
            self._firing = True
            self._cached &= word.epoch <= self._fired_epoch
            self._fired_epoch = word.epoch
            silent_s = self._host.clock() - word.t_ok_s
            self._host.say(
                f"fires: etcd was last heard {silent_s:.2f} s ago, and guests that may be started "
                f"elsewhere must be dead {times.dead_by(0.0):.2f} s after that"
            )
            self._dying |= set(self._host.find_libvirt())
            for daemon in self._dying:
                self._host.kill(daemon)
        for guest in self._doomed(word.may_stay):
            self._kill(guest)
        return not self._dying and not self._cached

    def _doomed(self, may_stay: tuple[str, ...]) -> tuple[Process, ...]:
        """What lives and must not, that on its way out included."""
        found = {guest for guest in self._host.find_guests() if guest.server_id not in may_stay}
        self._dying = {one for one in found | self._dying if not self._host.is_gone(one)}
        return tuple(sorted(self._dying))

    def _kill(self, guest: Process) -> None:
        if guest not in self._killed and guest.server_id:
            self._host.say(f"kills the guest {guest.server_id}, process {guest.pid}")
            disk = self._host.cached_disk(guest)
            if disk:
                self._cached = True
                self._host.say(f"{disk} is written through this host's cache: it must be reset")
        self._killed.add(guest)
        self._host.kill(guest)

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
