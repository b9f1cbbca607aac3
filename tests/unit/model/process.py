"""Programs as generators: each step between two yields is atomic, and any of them may be the last.

A program that is stopped, stalled or killed between two steps is what SIGSTOP, a slow machine and
SIGKILL do at an instruction. ``yield n`` sleeps for n ticks.
"""

from collections.abc import Callable, Generator
from typing import Any

TICKS_PER_S = 10
Steps = Generator[int | None, None, Any]
"""The steps of one thread; ``gi_running`` while one of them lets others go on (a stall)."""


class Unreachable(Exception):
    """No answer in time; whether it was done is not known."""


class Violation(AssertionError):
    """The protocol failed."""


class Box:
    """An answer that may come."""

    def __init__(self) -> None:
        self.full = False
        self.value: Any = None

    def put(self, value: Any) -> None:
        if not self.full:
            self.full, self.value = True, value


class Reply(Box):
    """An answer that has to go back over a link."""

    def __init__(self, network: "Network", sender: str, receiver: str, answer: Box) -> None:
        super().__init__()
        self._way = network, sender, receiver, answer

    def put(self, value: Any) -> None:
        network, sender, receiver, answer = self._way
        network.send(sender, receiver, lambda: answer.put(value))


class Task:
    """One thread of a program."""

    def __init__(self, name: str, steps: Steps, wake: int) -> None:
        self.name, self.steps, self.wake = name, steps, wake


class Process:
    """A program of one machine."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.tasks: list[Task] = []
        self.alive = False
        self.paused = False
        self.stalled: dict[str, int] = {}
        """Task name to the tick until which this one alone stands still."""
        self.run = 0
        """Counts its starts: a connection to an earlier one is broken."""

    def start(self, **tasks: Steps) -> None:
        self.alive, self.paused = True, False
        self.run += 1
        for name, steps in tasks.items():
            self.spawn(name, steps)

    def spawn(self, name: str, steps: Steps) -> None:
        if self.alive:
            self.tasks.append(Task(name, steps, self._now() + 1))

    def kill(self) -> None:
        self.alive = self.paused = False
        self.tasks, self.stalled = [], {}

    def step(self) -> None:
        now = self._now()
        for task in tuple(self.tasks):
            if self.paused or task not in self.tasks or task.steps.gi_running:
                continue
            if task.wake <= now and self.stalled.get(task.name, 0) <= now:
                try:
                    task.wake = now + (next(task.steps) or 1)
                except StopIteration:
                    if task in self.tasks:
                        self.tasks.remove(task)


class Network:
    """Messages between parties, each one tick under way at least.

    A link is up, cut (what is sent is lost) or slow (it is held until the link is up, however old
    it is then).
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._links: dict[frozenset[str], str] = {}
        self._flying: list[tuple[frozenset[str], Callable[[], None]]] = []
        self._held: list[tuple[frozenset[str], Callable[[], None]]] = []

    def link(self, one: str, other: str) -> str:
        return self._links.get(frozenset((one, other)), "up")

    def set(self, one: str, other: str, state: str) -> None:
        self._links[frozenset((one, other))] = state

    def heal(self) -> None:
        self._links.clear()

    def send(self, sender: str, receiver: str, action: Callable[[], None]) -> None:
        self._flying.append((frozenset((sender, receiver)), action))

    def hold(self, one: str, other: str) -> None:
        """What is under way between two parties now takes much longer than what follows it."""
        link = frozenset((one, other))
        self._held += [each for each in self._flying if each[0] == link]
        self._flying = [each for each in self._flying if each[0] != link]

    def release(self) -> None:
        """What was held arrives."""
        self._flying, self._held = self._flying + self._held, []

    def deliver(self) -> None:
        arriving, self._flying = self._flying, []
        for link, action in arriving:
            state = self._links.get(link, "up")
            if state == "up":
                action()
            elif state == "slow":
                self._flying.append((link, action))

    def call(
        self, caller: str, callee: str, there: Callable[[Box], None], *, ticks: int = 10
    ) -> Steps:
        """Have something done elsewhere.

        ``there`` is given a box for its answer, which comes back over the same link.
        """
        yield
        answer = Box()

        self.send(caller, callee, lambda: there(Reply(self, callee, caller, answer)))
        until = self._now() + ticks
        while not answer.full:
            if self._now() >= until:
                raise Unreachable
            yield
        if isinstance(answer.value, Exception):
            raise answer.value
        return answer.value
