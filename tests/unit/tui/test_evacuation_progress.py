"""What waiting for evacuations draws, on a real pseudo-terminal and without one."""

import io

import msgspec

from tui.commands.evacuation_progress import EvacuationProgress
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveState,
    PlannedMove,
    Way,
)
from wire.migration import Note

changed = msgspec.structs.replace


def server(name: str, state: MoveState, **more: object) -> EvacuatedServer:
    plan = PlannedMove(
        server_id=name,
        server_name=name,
        way=Way.LIVE,
        source_host_id="h-1",
        source_host_name="kvm-01",
        target_host_name="kvm-02",
    )
    return EvacuatedServer(plan=plan, state=state, **more)


def evacuation(*servers: EvacuatedServer, **more: object) -> Evacuation:
    fields = {"evacuation_id": "e-1", "host_name": "kvm-01", "host_id": "h-1"}
    return Evacuation(kind=EvacuationKind.EVACUATE, servers=servers, **fields | more)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


BEGUN = evacuation(server("web-1", MoveState.MOVING, tries=1), server("db-1", MoveState.WAITING))
ONE_LEFT = evacuation(
    server(
        "web-1",
        MoveState.LEFT,
        tries=1,
        started_at_ms=1_000,
        ended_at_ms=6_100,
        downtime_ms=43,
        sent_bytes=64 << 20,
    ),
    server("db-1", MoveState.MOVING, tries=1),
    sending_bytes_per_s=20 << 20,
)


def test_without_a_terminal_figures_stand_where_a_server_has_moved_on():
    stream, clock = io.StringIO(), Clock()
    progress = EvacuationProgress(stream, clock)
    for number, each in enumerate((BEGUN, BEGUN, ONE_LEFT, ONE_LEFT)):
        clock.now_s = number * 5.0
        progress.on_evacuation(changed(each, sending_bytes_per_s=(20 + number) << 20))
    retried = changed(ONE_LEFT.servers[1], tries=2)
    note = Note(at_ms=1, text="db-1 failed once: no answer", by="")
    clock.now_s = 30.0
    progress.on_evacuation(changed(ONE_LEFT, servers=(ONE_LEFT.servers[0], retried), notes=(note,)))
    failed = changed(retried, state=MoveState.FAILED, reason="no answer")
    progress.on_evacuation(
        changed(
            ONE_LEFT,
            servers=(ONE_LEFT.servers[0], failed),
            notes=(note,),
            state=EvacuationState.ENDED,
        )
    )
    progress.close()
    assert stream.getvalue().splitlines() == [
        "kvm-01: web-1 goes to kvm-02",
        "kvm-01: running: its servers leave it",
        "kvm-01  0 of 2 gone  1 moving  1 waiting  20 MiB/s",
        "kvm-01: web-1 left, on kvm-02: 5.1 s, pause 43 ms, 64 MiB sent",
        "kvm-01: db-1 goes to kvm-02",
        "kvm-01  1 of 2 gone  1 moving  22 MiB/s",
        "kvm-01: db-1 failed once: no answer",
        "kvm-01: db-1 goes to kvm-02, try 2",
        "kvm-01: db-1 failed: no answer",
        "kvm-01: ended: 1 of 2 servers have left",
    ]


def test_an_event_that_an_answer_has_overtaken_tells_nothing_anew():
    stream = io.StringIO()
    progress = EvacuationProgress(stream, Clock())
    for each in (BEGUN, ONE_LEFT, BEGUN, ONE_LEFT):
        progress.on_evacuation(each)
    told = stream.getvalue().splitlines()
    assert len(told) == len(set(told))


def test_hosts_that_are_emptied_together_share_the_line_of_figures():
    stream, clock = io.StringIO(), Clock()
    progress = EvacuationProgress(stream, clock)
    progress.on_evacuation(changed(BEGUN, servers=()))
    clock.now_s = 2.0
    progress.on_evacuation(changed(BEGUN, evacuation_id="e-2", host_name="kvm-\x1b2"))
    assert stream.getvalue().splitlines()[-1] == (
        r"kvm-01  0 of 0 gone; kvm-\x1b2  0 of 2 gone  1 moving  1 waiting"
    )


def test_what_waits_for_a_person_is_told_although_nothing_moves():
    stream, clock = io.StringIO(), Clock()
    progress = EvacuationProgress(stream, clock)
    for number, reason in enumerate(("the link is full", "it needs 1.4 s", "it needs 1.4 s")):
        clock.now_s = number * 5.0
        stuck = server("db-1", MoveState.WAITING, reason=reason)
        progress.on_evacuation(evacuation(stuck))
    assert stream.getvalue().splitlines()[2:] == [
        "kvm-01  0 of 1 gone  1 waiting  db-1 waits: the link is full",
        "kvm-01  0 of 1 gone  1 waiting  db-1 waits: it needs 1.4 s",
    ]


def test_on_a_terminal_the_figures_are_rewritten_once_a_second(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream, shown = terminal
    clock = Clock()
    progress = EvacuationProgress(stream, clock)
    for now_s, rate in ((0.0, 20), (0.9, 30), (1.8, 40), (1.9, 50)):
        clock.now_s = now_s
        progress.on_evacuation(changed(BEGUN, sending_bytes_per_s=rate << 20))
    assert shown() == [
        "kvm-01: web-1 goes to kvm-02",
        "kvm-01: running: its servers leave it",
        "kvm-01  0 of 2 gone  1 moving  1 waiting  40 MiB/s",
    ]
    progress.close()
    assert shown()[-1] == "kvm-01: running: its servers leave it"
