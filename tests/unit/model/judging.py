"""How a backend ends a migration, by the real table over what both hosts say."""

from typing import TYPE_CHECKING, Any

from backend.migrations.outcome import Side, Verdict, judge
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
_NOTHING = {Side.ABSENT, Side.SHUT_OFF}


class Judging:
    """Asks the target, then the source, judges the pair, and writes whose the server is."""

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend
        self._first_seen: dict[str, int] = {}

    def _side(self, host: str, server_id: str) -> Steps:
        backend = self._backend
        if backend.dead(host):
            return "dead", False
        try:
            state, job = yield from backend.ask(host, "truth", server_id)
        except Unreachable:
            if backend.present(host):
                return Side.SILENT, False
            return (Side.GONE if backend.world.holds("dead_not_gone") else "dead"), False
        return _SIDES[state], job

    def step(self, server_id: str, item: Item) -> Steps:
        """Ask once, and act on what it means."""
        backend, record = self._backend, item.value
        began = self._first_seen.setdefault(record.migration, backend.world.now)
        patient = backend.world.now - began < _PATIENCE_TICKS
        source_was_dead = backend.dead(record.owner)
        target, _ = yield from self._side(record.target, server_id)
        source, job = yield from self._side(record.owner, server_id)
        if "dead" in {source, target} and backend.world.holds("in_flight"):
            if target != "dead" and not source_was_dead:
                return  # what the target said, it said before the source was dead
            if not job:
                yield from self._bury(server_id, item, source, target)
            return
        if Side.GONE in {source, target} and source is not Side.RUNNING:
            return
        told = [Side.GONE if side == "dead" else side for side in (source, target)]
        yield from self._follow(server_id, item, *told, job=job, patient=patient)

    def _follow(
        self, server_id: str, item: Item, source: Side, target: Side, *, job: bool, patient: bool
    ) -> Steps:
        """Do what the table says."""
        backend, record = self._backend, item.value
        verdict = judge(source, target, job_active=job, patient=patient).verdict
        halted = verdict is Verdict.STAYED and source is Side.HALTED and not patient
        if verdict is Verdict.RESUME or halted:
            if (yield from self._without(record.target, server_id, item, target)):
                yield from backend.ask(record.owner, "resume", server_id, record.generation)
        elif verdict is Verdict.STAYED:
            if not backend.world.holds("in_flight") or (
                yield from self._without(record.target, server_id, item, target)
            ):
                yield from self._write(server_id, item)
        elif verdict is Verdict.MOVED:
            yield from self._write(server_id, item, owner=record.target)
        elif verdict is Verdict.LOST:
            yield from self._anew(server_id, item)

    def _bury(self, server_id: str, item: Item, source: Any, target: Any) -> Steps:
        """One of the two hosts is proven to be dead: what was on it is no more."""
        record = item.value
        if source == target == "dead" or (source == "dead" and target in _NOTHING):
            yield from self._write(server_id, item)
        elif source == "dead":
            if target is Side.RUNNING:
                yield from self._write(server_id, item, owner=record.target)
            elif target not in {Side.SILENT, Side.GONE}:
                yield from self._without(record.target, server_id, item, target)
        elif source is Side.RUNNING:
            yield from self._write(server_id, item)
        elif source is Side.HALTED:
            yield from self._backend.ask(record.owner, "resume", server_id, record.generation)
        elif source not in {Side.SILENT, Side.GONE}:
            yield from self._anew(server_id, item)

    def _without(self, host: str, server_id: str, item: Item, side: Any) -> Steps:
        """Have a copy ended that is nobody's; True once its host has said that it is."""
        backend = self._backend
        if side in _NOTHING or side == "dead":
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
        yield from self._put(server_id, item, settled)

    def _put(self, server_id: str, item: Item, value: Any) -> Steps:
        backend = self._backend
        when = {keys.SERVERS + server_id: item.revision, **backend.leads()}
        store = backend.world.store
        yield from backend.etcd(lambda: store.transact(when, {keys.SERVERS + server_id: value}))
