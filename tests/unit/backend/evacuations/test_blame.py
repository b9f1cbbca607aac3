"""Which targets a server is not sent to again."""

import pytest

from backend.evacuations.placing.blame import is_the_targets
from tests.unit.backend.evacuations.test_evacuator import DEFINITION, dead
from wire import keys
from wire.evacuation import MoveState
from wire.migration import Migration, MigrationState


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Cannot access storage file '/shared/a.img' on kvm-02", True),
        ("internal error: process exited while connecting to monitor: no memory", True),
        ("kvm-02 already holds a (running)", True),
        ("unable to connect to server at 'kvm-02:16514': Connection refused", True),
        ("operation failed: guest CPU doesn't match specification: missing features: avx", True),
        ("kvm-01 and kvm-02 do not agree", True),
        ("", True),
        ("internal error: client socket is closed", False),
        ("unable to connect to server at 'kvm-02:16514': No route to host", False),
        ("operation failed: migration failed: Unable to write to socket: Broken pipe", False),
        ("Requested operation is not valid: domain is not running", False),
        ("a is shut_off on kvm-01, and a live migration needs it running or paused", False),
        ("libvirtd on kvm-01 does not answer", False),
        ("Unsafe migration: Migration without shared storage is unsafe", False),
    ],
)
def test_what_speaks_against_a_target(error, told):
    failed = Migration(
        migration_id="m",
        server_id="id-a",
        server_name="a",
        source_host_id="host-1",
        source_host_name="kvm-01",
        target_host_id="host-2",
        target_host_name="kvm-02",
        state=MigrationState.FAILED,
        error=error,
    )
    assert is_the_targets(failed) is told


async def failed_twice(scene, error: str):
    """An evacuation of one server that ended, and the two targets that it tried."""
    scene.add("a")
    evacuation = await scene.start()
    tried = []
    for _ in range(2):
        await scene.look()
        tried.append((await scene.end("a", MigrationState.FAILED, error=error)).target_host_id)
        await scene.look()
    assert scene.states(evacuation) == {"a": MoveState.FAILED}
    return evacuation, tried


async def test_a_retry_of_what_has_ended_keeps_off_the_target_that_failed(scene, set_maintenance):
    set_maintenance("kvm-03")
    scene.add("a")
    evacuation = await scene.start()
    for _ in range(2):  # there is no other one, so that it is tried again all the same
        await scene.look()
        failed = await scene.end("a", MigrationState.FAILED, error="no disk there")
        assert failed.target_host_name == "kvm-02"
        await scene.look()
    assert scene.states(evacuation) == {"a": MoveState.FAILED}
    set_maintenance("kvm-03", on=False)
    for name in ("x", "y", "z"):  # kvm-02 would be the better one
        scene.add(name, "kvm-03")
    told = await scene.steering.retry(evacuation.evacuation_id, ["a"], requested_by="alice")
    assert [one.plan.target_host_name for one in told.servers] == ["kvm-03"]


async def test_a_broken_link_speaks_against_no_target(scene):
    evacuation, tried = await failed_twice(scene, "internal error: client socket is closed")
    assert tried[0] == tried[1]
    assert scene.line(evacuation, "a").tries == 2


async def test_a_rescue_that_is_tried_again_keeps_off_the_target_that_failed(scene):
    scene.add("a")
    scene.etcd.put(keys.DEFINITIONS + "id-a", DEFINITION)
    dead(scene)
    evacuation = await scene.start()
    await scene.look()
    first = await scene.end("a", MigrationState.FAILED, error="no disk there")
    await scene.look()
    assert scene.states(evacuation) == {"a": MoveState.FAILED}
    told = await scene.steering.retry(evacuation.evacuation_id, [], requested_by="alice")
    (line,) = told.servers
    assert line.plan.target_host_id not in {"", first.target_host_id}
