"""How a backend ends a migration, by the real table over what both hosts say."""

from typing import TYPE_CHECKING, Any

from backend.migrations.outcome import HALVES, Side, Verdict, judge
from tests.unit.model.process import Steps, Unreachable
from tests.unit.model.store import Item
from wire import keys

if TYPE_CHECKING:
    from tests.unit.model.backend import Backend

_PATIENCE_TICKS = 60
_SIDES = {
    "running": Side.RUNNING,
    "halted": Side.HALTED,
    "starting": Side.HALTED,
    "incoming": Side.INCOMING,
    "half": Side.POSTCOPY,
    "post-copy": Side.POSTCOPY,
    "post-copy failed": Side.POSTCOPY_FAILED,
    "shut_off": Side.SHUT_OFF,
    "absent": Side.ABSENT,
}
_AWAY = {Side.ABSENT, Side.SHUT_OFF, Side.DEAD}


class Judging:
    """Asks the target, then the source, judges the pair, and writes whose the server is."""

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend
        self._first_seen: dict[str, int] = {}

    def _side(self, host: str, server_id: str) -> Steps:
        backend = self._backend
        if backend.dead(host):
            return Side.DEAD, False
        try:
            state, job = yield from backend.ask(host, "truth", server_id)
        except Unreachable:
            if backend.present(host):
                return Side.SILENT, False
            return (Side.GONE if backend.world.holds("dead_not_gone") else Side.DEAD), False
        return _SIDES[state], job

    def step(self, server_id: str, item: Item) -> Steps:
        """Ask once, and act on what it means."""
        backend, record = self._backend, item.value
        began = self._first_seen.setdefault(record.migration, backend.world.now)
        patient = backend.world.now - began < _PATIENCE_TICKS
        was_dead = backend.dead(record.owner)
        target, _ = yield from self._side(record.target, server_id)
        source, job = yield from self._side(record.owner, server_id)
        receiving = target in HALVES
        judgement = judge(source, target, job_active=job, receiving=receiving, patient=patient)
        if source is Side.DEAD and backend.world.holds("in_flight"):
            if not was_dead:
                return  # what the target said, it said before the source was dead
            if judgement.leftover:
                yield from self._without(record.target, server_id, item, target)
                return
        yield from self._follow(server_id, item, source, target, judgement.verdict)

    def _follow(
        self, server_id: str, item: Item, source: Side, target: Side, verdict: Verdict
    ) -> Steps:
        """Do what the table says."""
        backend, record = self._backend, item.value
        if verdict is Verdict.RESUME:
            if (yield from self._without(record.target, server_id, item, target)):
                yield from backend.ask(record.owner, "resume", server_id, record.generation)
        elif verdict is Verdict.STAYED and (source, target) == (Side.SHUT_OFF, Side.DEAD):
            command = "start", server_id, record.generation, "migrating"
            if (yield from backend.ask(record.owner, *command)) == "running":
                yield from self._write(server_id, item)
        elif verdict is Verdict.STAYED:
            if not backend.world.holds("in_flight") or (
                yield from self._without(record.target, server_id, item, target)
            ):
                yield from self._write(server_id, item)
        elif verdict is Verdict.MOVED:
            if (yield from self._write(server_id, item, owner=record.target)):
                yield from backend.ask(record.owner, "remove", server_id, record.generation + 1)
        elif verdict is Verdict.LOST:
            yield from self._anew(server_id, item)

    def _without(self, host: str, server_id: str, item: Item, side: Any) -> Steps:
        """Have a copy ended that is nobody's; True once its host has said that it is."""
        backend = self._backend
        if side in _AWAY:
            return True
        if not backend.world.holds("leftover_first"):
            return True
        done = yield from backend.ask(host, "remove", server_id, item.value.generation)
        return done == "done"

    def _anew(self, server_id: str, item: Item) -> Steps:
        """No host has the guest whole: another one, or its source, starts it anew.

        The ownership goes there first; what is left elsewhere is ended by its next owner's start.
        """
        record, backend = item.value, self._backend
        owner = backend.choose(but=(record.owner,)) or record.owner
        told = tuple(one for one in (record.owner, record.target) if one != owner)
        again = record._replace(
            owner=owner,
            generation=record.generation + 1,
            phase="rescue",
            target="",
            migration="",
            told=told,
        )
        yield from self._put(server_id, item, again)

    def _write(self, server_id: str, item: Item, *, owner: str = "") -> Steps:
        record = item.value
        settled = record._replace(phase="settled", target="", migration="")
        if owner:
            settled = settled._replace(owner=owner, generation=record.generation + 1)
        return (yield from self._put(server_id, item, settled))

    def _put(self, server_id: str, item: Item, value: Any) -> Steps:
        backend = self._backend
        when = {keys.SERVERS + server_id: item.revision, **backend.leads()}
        store = backend.world.store
        then = {keys.SERVERS + server_id: value}
        return (yield from backend.etcd(lambda: store.transact(when, then)))
