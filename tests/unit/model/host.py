"""One machine: power, clock, guests, libvirtd, the watchdog card, and the real fence."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hostagent.fence import rounds
from hostagent.fence.guests import Process as GuestProcess
from hostagent.fence.word import Status, Word
from tests.unit.model.process import TICKS_PER_S, Box, Process, Steps

if TYPE_CHECKING:
    from tests.unit.model.world import World

ETCD_TIMEOUT_S = 1.0
_RESET_LATENCY_TICKS = 4
_DYING_TICKS = 10
"""A killed QEMU lives on so long: less than the second and a half that the fence reckons with."""
_BOOT_TICKS = 40
_RESTART_TICKS = 6
_LIBVIRTD = 1


class PowerLost(Exception):
    """The machine ended under a round of its fence."""


class Copy:
    """One QEMU with one guest."""

    def __init__(self, pid: int, state: str) -> None:
        self.pid, self.state = pid, state
        self.dies_at: int | None = None


class Card:
    """The watchdog card: once opened it counts, whoever lives."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self.timeout_s = 2

    def pet(self) -> None:
        self._host.point("pet")
        self._host.petted_at = self._host.world.now

    def stop(self) -> None:
        self._host.petted_at = None

    def leave(self) -> None:
        pass


class Host:
    """A KVM host."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.name = world, f"kvm-{number}"
        self.rate = 1.0
        self.powered = False
        self.boots_at: int | None = None
        self.copies: dict[str, Copy] = {}
        self.defined: set[str] = set()
        self.lived = False
        """A life was begun and settled in this boot: libvirt takes guests from now on."""
        self.unbound: set[str] = set()
        """Servers whose last disk that only this host reaches was taken away."""
        self.landing: dict[str, int] = {}
        """Server to the tick until which the last writes of a dead copy may reach its disk."""
        self.jobs: dict[str, str] = {}
        """Server to the migration that libvirt shows on it."""
        self.word: Word | None = None
        self.status: Status | None = None
        self.petted_at: int | None = None
        self.agent = Process(self._now)
        self.libvirtd = Process(self._now)
        self.fence = Process(self._now)
        self.dying_ticks = _DYING_TICKS
        self.stalls: list[int] = []
        """The fence stands still for so many ticks at each of its next points."""
        self._pids = _LIBVIRTD
        self.agent_tasks: Callable[[], dict[str, Steps]] = dict

    def _now(self) -> int:
        return self.world.now

    def clock(self) -> float:
        """CLOCK_BOOTTIME, in seconds."""
        return self.world.now / TICKS_PER_S * self.rate

    # power

    def boot(self) -> None:
        self.powered, self.boots_at = True, None
        self.libvirtd.start()
        self.start_fence()
        self.agent.start(**self.agent_tasks())

    def power_cut(self) -> None:
        """Everything volatile goes at once."""
        self.powered = self.lived = False
        self.boots_at = self.world.now + _BOOT_TICKS
        for server_id in tuple(self.copies):
            self._end(server_id)
        for process in (self.agent, self.libvirtd, self.fence):
            process.kill()
        self.jobs.clear()
        self.word = self.status = self.petted_at = None
        self.stalls.clear()

    def physics(self) -> None:
        """What happens without any program."""
        now = self.world.now
        if self.boots_at is not None and now >= self.boots_at and not self.world.stays_off(self):
            self.boot()
        if not self.powered:
            return
        for server_id, copy in tuple(self.copies.items()):
            if copy.dies_at is not None and now >= copy.dies_at:
                self._end(server_id)
        if self.petted_at is not None:
            fires_at = self.petted_at + 2 * TICKS_PER_S + _RESET_LATENCY_TICKS
            if now >= fires_at:
                self.power_cut()
                return
        for process, restart in (
            (self.agent, lambda: self.agent.start(**self.agent_tasks())),
            (self.libvirtd, self._restart_libvirtd),
            (self.fence, self.start_fence),
        ):
            if not process.alive and now % _RESTART_TICKS == 0:
                restart()

    # guests

    def executing(self, server_id: str) -> bool:
        copy = self.copies.get(server_id)
        return copy is not None and copy.state in {"running", "post-copy"}

    def kill(self, server_id: str) -> None:
        copy = self.copies.get(server_id)
        if copy is not None and copy.dies_at is None:
            copy.dies_at = self.world.now + self.dying_ticks

    def hang(self) -> None:
        """A disk that does not answer: a killed QEMU stays until its host is reset."""
        self.dying_ticks = 100_000

    def unhang(self) -> None:
        """It answers again."""
        self.dying_ticks = _DYING_TICKS
        for copy in self.copies.values():
            if copy.dies_at is not None:
                copy.dies_at = min(copy.dies_at, self.world.now + _DYING_TICKS)

    def appear(self, server_id: str, state: str) -> Copy:
        self._pids += 1
        copy = self.copies[server_id] = Copy(self._pids, state)
        return copy

    def execute(self, server_id: str, state: str = "running") -> None:
        """Let the vCPUs run."""
        self.copies[server_id].state = state
        self.world.begins(self, server_id)

    def _end(self, server_id: str) -> None:
        if self.executing(server_id):
            self.landing[server_id] = self.world.now + self.world.landing_ticks
        del self.copies[server_id]
        self.jobs.pop(server_id, None)

    def leave(self, server_id: str) -> None:
        """Its guest went to another host: the copy here, which stood still, is undefined."""
        self.copies.pop(server_id, None)
        self.defined.discard(server_id)

    def _restart_libvirtd(self) -> None:
        for server_id, copy in self.copies.items():
            if copy.state in {"starting", "incoming"}:
                self.kill(server_id)
        self.jobs.clear()
        self.libvirtd.start()

    # what the agent asks of libvirt

    def libvirt(self, run: int, steps: Callable[[Box], Steps]) -> Steps:
        """A call on the connection of one start of libvirtd; "failed" when that broke."""
        if not self.world.holds("connection"):
            run = self.libvirtd.run
        if not self.libvirtd.alive or self.libvirtd.run != run:
            return "failed"
        box = Box()
        self.libvirtd.spawn("call", steps(box))
        while not box.full:
            if not self.libvirtd.alive or self.libvirtd.run != run:
                return "failed"
            yield
        return box.value

    def start_call(self, server_id: str) -> Callable[[Box], Steps]:
        def steps(box: Box) -> Steps:
            yield
            if server_id in self.copies:
                box.put("running" if self.executing(server_id) else "failed")
                return
            self.defined.add(server_id)
            copy = self.appear(server_id, "starting")
            yield
            if self.copies.get(server_id) is copy and copy.dies_at is None:
                self.execute(server_id)
                box.put("running")
            else:
                box.put("failed")

        return steps

    def resume_call(self, server_id: str) -> Callable[[Box], Steps]:
        def steps(box: Box) -> Steps:
            yield
            copy = self.copies.get(server_id)
            if copy is not None and copy.state == "halted" and server_id not in self.jobs:
                self.execute(server_id)
            box.put("done")

        return steps

    def truth_call(self, server_id: str) -> Callable[[Box], Steps]:
        def steps(box: Box) -> Steps:
            yield
            copy = self.copies.get(server_id)
            if copy is not None:
                state = copy.state
            else:
                state = "shut_off" if server_id in self.defined else "absent"
            box.put((state, server_id in self.jobs))

        return steps

    # the fence

    def start_fence(self) -> None:
        fence = rounds.Fence(
            self._reach(), pid=1, etcd_timeout_s=ETCD_TIMEOUT_S, earlier=self.status
        )

        def steps() -> Steps:
            while True:
                try:
                    self.status = fence.round()
                except PowerLost:
                    return
                yield 2

        self.fence.start(rounds=steps())

    def point(self, what: str) -> None:
        """A place inside the fence's round at which it may be stopped; others go on meanwhile."""
        if not self.stalls:
            return
        ticks = self.stalls.pop(0)
        if what == "pet" and self.world.holds("margin"):
            ticks = min(ticks, 1)  # the margin is the longest pause that may be there
        run = self.fence.run
        if ticks:
            self.world.run(ticks)
        if self.fence.run != run or not self.fence.alive:
            raise PowerLost

    def _reach(self) -> rounds.Host:
        def clock() -> float:
            self.point("clock")
            return self.clock()

        def guests() -> tuple[GuestProcess, ...]:
            self.point("find")
            return tuple(GuestProcess(one.pid, 0, name) for name, one in self.copies.items())

        def libvirt() -> tuple[GuestProcess, ...]:
            if not self.libvirtd.alive or not self.world.holds("connection"):
                return ()
            return (GuestProcess(_LIBVIRTD, self.libvirtd.run, ""),)

        def kill(one: GuestProcess) -> None:
            self.point("kill")
            if one.pid == _LIBVIRTD and one.start_ticks == self.libvirtd.run:
                self.libvirtd.kill()
            elif one.server_id in self.copies and self.copies[one.server_id].pid == one.pid:
                self.kill(one.server_id)

        def is_gone(one: GuestProcess) -> bool:
            if one.pid == _LIBVIRTD:
                return not self.libvirtd.alive or self.libvirtd.run != one.start_ticks
            return all(each.pid != one.pid for each in self.copies.values())

        return rounds.Host(
            clock=clock,
            read_word=lambda: self.word,
            open_card=lambda _: self._open(),
            find_guests=guests,
            find_libvirt=libvirt,
            cached_disk=lambda _: "",
            kill=kill,
            is_gone=is_gone,
            was_fenced=lambda: False,  # libvirt takes no guest then: see ``lived``
            set_mark=lambda: None,
            remove_mark=lambda: None,
            say=lambda _: None,
        )

    def _open(self) -> Card:
        self.petted_at = self.world.now
        return Card(self)

    def __repr__(self) -> str:
        return self.name
