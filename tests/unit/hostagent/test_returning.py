"""Which guests a host kills that begins another life: processes like guests, and a real etcd."""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import msgspec
import pytest

from hostagent.fence.guests import find_guests
from hostagent.returning import Returning
from wire.etcd import EtcdUnreachable
from wire.fleet import Owner, OwnerPhase, ServerRecord
from wire.keys import SERVERS

OURS = Owner(host_id="host-1", epoch=1, generation=3)
THEIRS = Owner(host_id="host-2", epoch=1, generation=4)
ARRIVING = msgspec.structs.replace(
    THEIRS, phase=OwnerPhase.MIGRATING, target_host_id="host-1", migration_id="m1"
)
LEAVING_ANOTHER = msgspec.structs.replace(ARRIVING, target_host_id="host-3")


@pytest.fixture
def guest() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    server_id = str(uuid.uuid4())
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", "-uuid", server_id]
    )
    until = time.monotonic() + 20
    while server_id not in {one.server_id for one in find_guests()}:
        assert time.monotonic() < until
        time.sleep(0.02)
    yield server_id, process
    process.kill()
    process.wait()


def put(etcd, server_id: str, owner: Owner) -> None:
    record = ServerRecord(
        server_id=server_id,
        name="web-1",
        vcpu_count=1,
        memory_bytes=1,
        disks=(),
        owner=owner,
        wanted_on=True,
    )
    etcd.put(SERVERS + server_id, msgspec.json.encode(record))


def returning(etcd) -> Returning:
    return Returning(etcd, None, None, None)  # type: ignore[arg-type]  # killing asks only etcd


@pytest.mark.parametrize(
    ("owner", "dies"),
    [(OURS, False), (THEIRS, True), (ARRIVING, False), (LEAVING_ANOTHER, True), (None, False)],
)
def test_only_a_guest_that_another_host_owns_and_nobody_brings_here_is_killed(
    etcd, guest, owner, dies
):
    server_id, process = guest
    if owner is not None:
        put(etcd, server_id, owner)
    etcd.put(SERVERS + "broken", b"no record")
    returning(etcd).end_lost("host-1")
    assert (process.poll() is not None) is dies


def test_without_etcd_nobody_is_killed_and_no_life_begins(etcd, server, guest):
    server_id, process = guest
    put(etcd, server_id, THEIRS)
    server.kill()
    with pytest.raises(EtcdUnreachable):
        returning(etcd).end_lost("host-1")
    assert process.poll() is None
