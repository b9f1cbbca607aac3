"""Whether any one more host may die after a placement, and the others take its servers up."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

_MIB = 1 << 20


class Running(Protocol):
    """A server that runs, as far as its host's death matters; its record is one."""

    @property
    def memory_bytes(self) -> int:
        """What it needs elsewhere."""

    @property
    def name(self) -> str:
        """Its name."""


class Guest(msgspec.Struct, frozen=True, gc=False):
    """A server that is about to run."""

    memory_bytes: int
    name: str


class _Death(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes of a host's servers if it dies."""

    on: dict[str, int]
    """host_id → how many bytes each other host would take up of it."""
    lacking_bytes: int = 0
    """What none would take up."""
    clause: str = ""
    """The same in words, of the first server that none takes up."""


class Spare:
    """Room and load of each host, and for each host which others would take its servers up.

    A host's servers are taken up first fit, the largest first, into the hosts with the most free
    memory first. Memory is all that is looked at: not CPUs, pools, fences nor policies, for which a
    server may stay down in spite of it. What was found for a host holds until one of the hosts that
    it leans on has less room than that takes.
    """

    def __init__(
        self,
        free: Mapping[str, int],
        running: Mapping[str, Iterable[Running]],
        names: Mapping[str, str],
    ) -> None:
        """Reckon how it stands before anything is placed.

        Args:
            free: host_id → bytes of memory that servers may still take, of each host that does.
            running: host_id → the servers that run on each host which may die.
            names: host_id → name, of all of both.
        """
        self._names = names
        self._free = dict(free)
        self._order = sorted((-room, host_id) for host_id, room in free.items())
        self._running = {host_id: list(guests) for host_id, guests in running.items()}
        self._needed = {
            host_id: sum([guest.memory_bytes for guest in guests])
            for host_id, guests in self._running.items()
        }
        self._deaths: dict[str, _Death] = {}
        self._borne: dict[str, set[str]] = {}
        """host_id → the hosts that lean on it."""
        self.lacking = ""
        """Which host could not be spared even before, in one clause; empty if any could."""
        for host_id in sorted(self._running):
            death = self._death(host_id)
            self.lacking = self.lacking or death.clause
            self._settle(host_id, death)

    def take(self, host_id: str, guest: Guest) -> str:
        """Place a server that will run, if then any host may still die that could before.

        Args:
            host_id: of a host that takes servers.
            guest: the server.

        Returns:
            Empty if it is placed; else which host could not be spared, with the numbers, in one
            clause, and nothing has changed.
        """
        self._change(host_id, -guest.memory_bytes)
        self._count(host_id, guest, 1)
        left = self._free[host_id]
        leaning = self._borne.get(host_id, ())
        weakened = [one for one in leaning if self._deaths[one].on[host_id] > left]
        settled: dict[str, _Death] = {}
        for each in [host_id, *sorted(set(weakened) - {host_id})]:
            death, before = self._death(each), self._deaths.get(each)
            if death.lacking_bytes > (before.lacking_bytes if before else 0):
                self._count(host_id, guest, -1)
                self._change(host_id, guest.memory_bytes)
                return death.clause
            settled[each] = death
        for each, death in settled.items():
            self._settle(each, death)
        return ""

    def _death(self, host_id: str) -> _Death:
        """Say who would take up what of a host that dies."""
        needed = self._needed[host_id]
        if not needed:
            return _Death(on={})
        others = [(one, -room) for room, one in self._order[:2] if one != host_id]
        if others and others[0][1] >= needed:
            return _Death(on={others[0][0]: needed})
        left = {one: -room for room, one in self._order if one != host_id}
        taken: dict[str, int] = {}
        lacking_bytes, clause = 0, ""
        guests = self._running[host_id]
        for guest in sorted(guests, key=lambda one: (one.memory_bytes, one.name), reverse=True):
            size = guest.memory_bytes
            into = next((one for one, room in left.items() if room >= size), None)
            if into is None:
                lacking_bytes += size
                clause = clause or self._short(host_id, guest, left)
                continue
            left[into] -= size
            taken[into] = taken.get(into, 0) + size
        return _Death(on=taken, lacking_bytes=lacking_bytes, clause=clause)

    def _short(self, host_id: str, guest: Running, left: Mapping[str, int]) -> str:
        guests, needed = self._running[host_id], self._needed[host_id]
        free = sum(room for one, room in self._free.items() if one != host_id)
        many = f"{len(guests)} running servers need" if guests[1:] else "one running server needs"
        most = max(left.values(), default=0)
        return (
            f"if {self._names[host_id]} died, its {many} {needed // _MIB} MiB, the others have "
            f"{free // _MIB} MiB free, and {guest.name} with {guest.memory_bytes // _MIB} MiB "
            f"would find at most {most // _MIB} MiB on one host"
        )

    def _settle(self, host_id: str, death: _Death) -> None:
        if host_id in self._deaths:
            for one in self._deaths[host_id].on:
                self._borne[one].discard(host_id)
        self._deaths[host_id] = death
        for one in death.on:
            self._borne.setdefault(one, set()).add(host_id)

    def _count(self, host_id: str, guest: Guest, by: int) -> None:
        """One more guest that runs on a host, or the last one less."""
        guests = self._running.setdefault(host_id, [])
        if by > 0:
            guests.append(guest)
        else:
            guests.pop()
        self._needed[host_id] = self._needed.get(host_id, 0) + by * guest.memory_bytes

    def _change(self, host_id: str, by_bytes: int) -> None:
        before = self._free[host_id]
        del self._order[bisect_left(self._order, (-before, host_id))]
        self._free[host_id] = before + by_bytes
        insort(self._order, (-before - by_bytes, host_id))
