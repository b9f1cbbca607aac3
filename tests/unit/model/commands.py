"""What the backend asks of an agent: one lock per server, and the record decides."""

from typing import TYPE_CHECKING, Any

from tests.unit.model.process import Box, Steps, Unreachable

if TYPE_CHECKING:
    from tests.unit.model.agent import Agent


class Commands:
    """The commands of one agent's process."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._host = agent.host
        self._locks: set[str] = set()
        self._beginning: set[str] = set()

    def answer(self, verb: str, reply: Box, arguments: tuple[Any, ...]) -> None:
        """A command that has arrived; one that is not ready refuses all of them."""

        def steps() -> Steps:
            yield
            if not self._agent.ready:
                return
            told = yield from getattr(self, verb)(*arguments)
            if told is not None:
                reply.put(told)

        self._host.agent.spawn(verb, steps())

    def _locked(self, server_id: str) -> Steps:
        while server_id in self._locks:
            yield
        self._locks.add(server_id)

    def start(self, server_id: str, generation: int, phase: str = "rescue") -> Steps:
        """Start what the record gives to this host, on the connection of before it was read."""
        yield from self._locked(server_id)
        connection = self._host.libvirtd.run
        try:
            record = yield from self._agent.record(server_id)
        except Unreachable:
            self._locks.discard(server_id)
            return "unknown"
        right = record.owner == self._host.name and record.generation == generation
        if self._agent.world.holds("generation") and not (right and record.phase == phase):
            self._locks.discard(server_id)
            return "refused"
        if not self._agent.may_begin():
            self._locks.discard(server_id)
            return "refused"
        yield
        result = yield from self._host.libvirt(connection, self._host.start_call(server_id))
        self._locks.discard(server_id)
        return result

    def remove(self, server_id: str, generation: int) -> Steps:
        """End and undefine a copy that is not this host's."""
        yield from self._locked(server_id)
        try:
            record = yield from self._agent.record(server_id)
        except Unreachable:
            self._locks.discard(server_id)
            return "unknown"
        here, copy = self._host.name, self._host.copies.get(server_id)
        runs = copy is not None and copy.state == "running"
        may_be_the_one = runs and record.phase == "migrating" and record.target == here
        if record.owner == here or generation != record.generation or may_be_the_one:
            self._locks.discard(server_id)
            return "refused"
        self._host.kill(server_id)
        while server_id in self._host.copies:
            yield
        self._host.defined.discard(server_id)
        self._locks.discard(server_id)
        return "done"

    def resume(self, server_id: str, generation: int) -> Steps:
        """Let a guest run again that a migration left paused."""
        yield from self._locked(server_id)
        connection = self._host.libvirtd.run
        try:
            record = yield from self._agent.record(server_id)
        except Unreachable:
            self._locks.discard(server_id)
            return "unknown"
        result = "refused"
        if (
            record.owner == self._host.name
            and record.generation == generation
            and self._agent.may_begin()
        ):
            yield
            result = yield from self._host.libvirt(connection, self._host.resume_call(server_id))
        self._locks.discard(server_id)
        return result

    def truth(self, server_id: str) -> Steps:
        """What libvirt says now; no answer if it does not."""
        connection = self._host.libvirtd.run
        told = yield from self._host.libvirt(connection, self._host.truth_call(server_id))
        if told == "failed":
            return None
        state, job = told
        return state, job or server_id in self._beginning

    def migration(self, server_id: str, migration: str, *, target: str, postcopy: bool) -> None:
        """A command to move a server away has arrived."""
        if self._agent.ready:
            steps = self._migrate(server_id, migration, target=target, postcopy=postcopy)
            self._host.agent.spawn(f"migrate {server_id}", steps)

    def _migrate(self, server_id: str, migration: str, *, target: str, postcopy: bool) -> Steps:
        self._beginning.add(server_id)
        connection = self._host.libvirtd.run
        try:
            record = yield from self._agent.record(server_id)
        except Unreachable:
            self._beginning.discard(server_id)
            return "unknown"
        held = record.owner == self._host.name and record.migration == migration
        if held and self._host.libvirtd.run == connection and self._host.libvirtd.alive:
            yield
            if self._host.libvirtd.run == connection:
                moving = self._agent.world.move(
                    self._host, target, server_id, migration, postcopy=postcopy
                )
                self._host.libvirtd.spawn("migration", moving)
                yield
        self._beginning.discard(server_id)
        return "done"
