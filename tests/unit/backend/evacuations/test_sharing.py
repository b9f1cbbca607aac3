"""A cap on all that leaves a host, told to moves whose agents may be slow."""

import asyncio
from typing import Any

import pytest

from backend.audit.act import carrying_out, not_entered
from backend.evacuations.timing import sharing
from backend.evacuations.timing.sharing import BY, Sharing
from wire.audit import AuditEntry
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import Evacuation, EvacuationKind
from wire.migration import (
    Migration,
    MigrationOptions,
    MigrationParameters,
    MigrationState,
    Note,
)
from wire.role import Role

MIB = 1 << 20


class PlayedActs:
    """Takes what is told, save for moves whose agents are silent."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.told: list[tuple[str, int | None]] = []

    async def set_parameters(
        self, migration_id: str, parameters: MigrationParameters, *, requested_by: str
    ) -> None:
        assert requested_by == BY
        assert not_entered() is None
        self.asked.append(migration_id)
        await asyncio.sleep(0)
        if migration_id in self.silent:
            raise GodwitError(ErrorCode.AGENT_UNREACHABLE, "kvm-01 does not answer")
        if migration_id in self.broken:
            raise KeyError(migration_id)
        self.told.append((migration_id, parameters.max_bandwidth_bytes_per_s))


def move(name: str, cap_mib: int | None, **changes: Any) -> Migration:
    values: dict[str, Any] = {
        "migration_id": name,
        "server_id": f"id-{name}",
        "server_name": name,
        "source_host_id": "host-1",
        "source_host_name": "kvm-01",
        "state": MigrationState.COPYING_MEMORY,
        "options": MigrationOptions(max_bandwidth_bytes_per_s=cap_mib and cap_mib * MIB),
    }
    return Migration(**(values | changes))


def evacuation(cap_mib: int | None) -> Evacuation:
    return Evacuation(
        evacuation_id="e1",
        kind=EvacuationKind.EVACUATE,
        host_id="host-1",
        host_name="kvm-01",
        max_bandwidth_bytes_per_s=cap_mib and cap_mib * MIB,
    )


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def acts():
    return PlayedActs()


async def test_a_cap_that_was_taken_away_is_lifted_until_the_agent_takes_it(acts, monkeypatch):
    monkeypatch.setattr(sharing, "_AGAIN_S", 0.0)
    shares = Sharing(acts)
    acts.silent.add("a")
    shares.look(evacuation(None), [move("a", 10)])
    await settle()
    assert acts.told == []
    acts.silent.clear()
    shares.look(evacuation(None), [move("a", 10)])
    await settle()
    assert acts.told == [("a", None)]


async def test_the_cap_that_a_person_gave_one_move_is_let_alone(acts):
    shares = Sharing(acts)
    capped = MigrationParameters(max_bandwidth_bytes_per_s=MIB)
    text = "bandwidth cap changed from none to 1 MiB/s"
    theirs = move("a", None, parameters=capped, notes=(Note(at_ms=1, text=text, by="carol"),))
    ours = move("b", None, parameters=capped, notes=(Note(at_ms=1, text=text, by=BY),))
    shares.look(evacuation(None), [theirs, ours])
    await settle()
    assert acts.told == [("b", None)]


async def test_those_that_get_less_are_told_first_and_a_silent_one_holds_up_nobody(acts):
    shares = Sharing(acts)
    moves = [move("wide", 10), move("narrow", 2)]
    acts.silent.add("wide")
    shares.look(evacuation(10), moves)
    assert acts.told == []
    await settle()
    assert acts.told == []
    shares.look(evacuation(10), moves)
    await settle()
    assert acts.told == [("narrow", 5 * MIB)]
    shares.stop()


async def test_a_cap_that_a_person_lifts_is_told_by_the_backend_itself(acts):
    """Long after the request perhaps, which has its entry or was refused by then."""
    entry = AuditEntry(
        entry_id="a1", at_ms=1, user="alice", role=Role.OPERATOR, verb="evacuation-change"
    )
    with carrying_out(entry):
        Sharing(acts).lift([move("a", 10)])
    await settle()
    assert acts.told == [("a", None)]


async def test_another_share_does_not_wait_for_one_that_was_not_taken(acts):
    shares = Sharing(acts)
    acts.silent.add("a")
    shares.look(evacuation(5), [move("a", 10)])
    await settle()
    acts.silent.clear()
    shares.look(evacuation(4), [move("a", 10)])
    await settle()
    assert acts.told == [("a", 4 * MIB)]


async def test_one_that_is_held_back_gets_the_least_and_then_its_share(acts):
    shares = Sharing(acts)
    moves = [move("heavy", None), move("next", None)]
    shares.look(evacuation(None), moves, {"next"})
    await settle()
    assert acts.told == [("next", MIB)]
    told = MigrationParameters(max_bandwidth_bytes_per_s=MIB)
    note = Note(at_ms=1, text="bandwidth cap changed from none to 1 MiB/s", by=BY)
    moves[1] = move("next", None, parameters=told, notes=(note,))
    shares.look(evacuation(None), moves, {"next"})
    await settle()
    assert len(acts.told) == 1
    shares.look(evacuation(None), moves)
    await settle()
    assert acts.told[1:] == [("next", None)]


async def test_what_one_that_is_held_back_sends_is_left_to_it_below_the_cap(acts):
    shares = Sharing(acts)
    shares.look(evacuation(10), [move("heavy", 10), move("next", 5)], {"next"})
    await settle()
    assert dict(acts.told) == {"heavy": 9 * MIB, "next": MIB}


async def test_a_cap_of_the_least_is_given_to_both(acts):
    shares = Sharing(acts)
    shares.look(evacuation(1), [move("heavy", 2), move("next", 2)], {"next"})
    await settle()
    assert dict(acts.told) == {"heavy": MIB, "next": MIB}


@pytest.mark.parametrize("kind", ["silent", "broken"])
async def test_what_was_not_set_is_not_asked_for_again_at_every_look(acts, kind, caplog):
    shares = Sharing(acts)
    getattr(acts, kind).add("a")
    with caplog.at_level("INFO"):
        for _ in range(3):
            shares.look(evacuation(8), [move("a", 10)])
            await settle()
    assert acts.asked == ["a"]
    assert len([one for one in caplog.records if "its share is not set" in one.message]) == 1
    shares.stop()
