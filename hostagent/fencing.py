"""The agent's side of the fence: what it tells ``godwit-fence``, and what it learns from it."""

import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path

import msgspec

from hostagent.fence.deadline import boot_clock_s, fence_times, wished_timeout_s
from hostagent.fence.word import WORD, Status, Word, boot_id, read_status, read_word, write
from wire.errors import ErrorCode, GodwitError
from wire.life import Fence

_log = logging.getLogger(__name__)

_SILENT_S = 2.0
"""After so long without a status the fence counts as gone, unless its card still counts; it writes
five a second."""
_ARMING_S = 1.0
_POLL_S = 0.02


class Force(msgspec.Struct, frozen=True, kw_only=True):
    """What fences this host now."""

    fence: Fence
    detail: str = ""
    """Why nothing does, in one clause."""
    watchdog_timeout_s: int = 0


NOT_ASKED = Force(fence=Fence.NONE, detail="automatic rescue is off")


class Fencing:
    """The two files in ``run_dir``; every method may be called from any thread.

    The word of an earlier agent holds on until this one has a life of its own: an armed card stays
    armed, and the moment that counts moves only with a key that is known to be there.
    """

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir
        self._lock = threading.Lock()
        self._boot_id = boot_id()
        earlier = read_word(run_dir)
        self._word = earlier if earlier and earlier.boot_id == self._boot_id else None
        self._may_stay = () if self._word is None else self._word.may_stay
        self._turned_at_s = 0.0
        """When the fence was last told to arm or to disarm; what it said before is of no value."""
        self._withdrawn: set[str] = set()
        """Since :meth:`keep_only` was last called."""

    def arm(self, host_id: str, epoch: int, *, sent_s: float, ttl_s: int) -> Force:
        """Ask for the card, wait a moment until it is open, and tell whether it is.

        What was asked for in vain is taken back: nobody else has been told of it.

        Args:
            host_id: this host's.
            epoch: of the life that is about to say that it is fenced.
            sent_s: before its lease was asked for, or the last refresh that counts was sent.
            ttl_s: of that lease.
        """
        with self._lock:
            anew = self._word is None or not self._word.armed
            if anew:
                begun = self._word is not None and self._word.begun
                word = Word(
                    self._boot_id,
                    host_id,
                    epoch,
                    armed=True,
                    t_ok_s=sent_s,
                    ttl_s=ttl_s,
                    begun=begun,
                )
                if not self._told(word):
                    return Force(fence=Fence.NONE, detail=f"{self._folder} is not writable")
                self._turned_at_s = boot_clock_s()
        until_s = boot_clock_s() + _ARMING_S
        while (force := self.force()).fence is Fence.NONE and boot_clock_s() < until_s:
            time.sleep(_POLL_S)
        if anew and force.fence is Fence.NONE:
            self._turn_off()
        return force

    def heard(self, host_id: str, epoch: int, *, sent_s: float, ttl_s: int) -> None:
        """A refresh counts: the key is there, and its lease lives for this TTL at least."""
        with self._lock:
            armed = self._word is not None and self._word.armed
            self._told(Word(self._boot_id, host_id, epoch, armed, t_ok_s=sent_s, ttl_s=ttl_s))

    def disarm(self) -> None:
        """Etcd has acknowledged that this host is not fenced."""
        self._turn_off(begun=True)

    def _turn_off(self, *, begun: bool = False) -> None:
        with self._lock:
            word = self._word
            if word is not None and word.armed:
                self._told(word._replace(armed=False, begun=begun or word.begun))
                self._turned_at_s = boot_clock_s()

    def keep_only(self, server_ids: Collection[str]) -> None:
        """Take the right to stay from all others; records are read afterwards.

        Raises:
            GodwitError: ``INTERNAL``, the fence cannot be told, and goes by what it knew.
        """
        with self._lock:
            self._withdrawn.clear()
            self._tell_stay(self.may_stay & frozenset(server_ids))

    def let_stay(self, server_ids: Collection[str]) -> None:
        """Name the guests that nobody can start elsewhere, and no others.

        One that was withdrawn since :meth:`keep_only` does not come back: its record may have been
        read before that.

        Raises:
            GodwitError: as above.
        """
        with self._lock:
            self._tell_stay(frozenset(server_ids) - self._withdrawn)

    def _tell_stay(self, server_ids: frozenset[str]) -> None:
        before = self._may_stay
        self._may_stay = tuple(sorted(server_ids))
        if self._may_stay == before or self._word is None or self._told(self._word):
            return
        self._may_stay = before
        raise GodwitError(
            ErrorCode.INTERNAL,
            f"the fence is not told what may stay: {self._folder} is not writable",
        )

    def withdraw(self, server_id: str) -> None:
        """One guest may not stay any more: it is about to move.

        Raises:
            GodwitError: as above.
        """
        with self._lock:
            self._withdrawn.add(server_id)
            self._tell_stay(self.may_stay - {server_id})

    @property
    def host_id(self) -> str:
        """This host's as an earlier agent told it since the machine was started; empty if none."""
        word = self._word
        return "" if word is None else word.host_id

    @property
    def epoch(self) -> int:
        """The latest that was told since the machine was started; 0 if none was."""
        word = self._word
        return 0 if word is None else word.epoch

    @property
    def may_stay(self) -> frozenset[str]:
        """The guests that stay alive as last told."""
        return frozenset(self._may_stay)

    def force(self) -> Force:
        """What the fence says, as long as it says anything."""
        status = self._status()
        if status is None:
            return Force(fence=Fence.NONE, detail="godwit-fence does not run")
        if status.at_s < self._turned_at_s:
            return Force(fence=Fence.NONE, detail="godwit-fence is not armed yet")
        if not status.armed:
            return Force(fence=Fence.NONE, detail=status.detail or "godwit-fence is not armed yet")
        return Force(fence=Fence.WATCHDOG, watchdog_timeout_s=status.watchdog_timeout_s)

    def fired(self, epoch: int) -> bool:
        """Whether guests were killed in this life of the host or in a later one."""
        status = read_status(self._folder)
        return status is not None and status.fired_epoch >= epoch > 0

    def require_time_left(self) -> None:
        """Refuse to start a guest that the fence is about to kill.

        Raises:
            GodwitError: ``NOT_READY``.
        """
        with self._lock:
            word = self._word
        if word is None or not word.armed:
            return
        status = read_status(self._folder)
        told_s = 0 if status is None else status.watchdog_timeout_s
        timeout_s = told_s or wished_timeout_s(word.ttl_s)
        kill_from_s = fence_times(word.ttl_s, watchdog_timeout_s=timeout_s).kill_from(word.t_ok_s)
        if self.fired(word.epoch) or boot_clock_s() >= kill_from_s:
            raise GodwitError(
                ErrorCode.NOT_READY,
                f"etcd was last heard {boot_clock_s() - word.t_ok_s:.1f} s ago: no guest is "
                "started on this host until it has a new lease",
            )

    def _status(self) -> Status | None:
        status = read_status(self._folder)
        if status is None:
            return None
        # a card that counts resets the host, or the fence is back before: armed until then
        bears_s = status.watchdog_timeout_s + 1.0 if status.armed else 0.0
        fresh = 0 <= boot_clock_s() - status.at_s < max(_SILENT_S, bears_s)
        return status if fresh else None

    def _told(self, word: Word) -> bool:
        word = word._replace(may_stay=self._may_stay)
        try:
            write(self._folder / WORD, word)
        except OSError as error:
            _log.error("the fence is not told: %s", error)
            return False
        self._word = word
        return True
