"""Fleets in states that pictures are taken of: each function puts the stub's fleet into one."""

from collections.abc import Callable
from typing import Any

import msgspec

from wire.fleet import ServerStatus
from wire.migration import (
    Kept,
    Migration,
    MigrationDetail,
    MigrationOptions,
    MigrationState,
    Note,
    PostcopyState,
    Sample,
)

MEBIBYTE = 1024 * 1024
NOON_MS = 1_795_435_200_000

changed = msgspec.structs.replace


def _noted(seconds: int, text: str, by: str = "") -> Note:
    return Note(at_ms=NOON_MS + 1000 * seconds, text=text, by=by)


def disk_samples(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The same moments while 4 GiB of disks are copied."""
    return tuple(
        changed(
            each,
            pass_number=0,
            memory_total_bytes=0,
            memory_processed_bytes=0,
            memory_remaining_bytes=0,
            dirty_bytes_per_s=0,
            bandwidth_bytes_per_s=0,
            disk_total_bytes=4096 * MEBIBYTE,
            disk_remaining_bytes=(4096 - 26 * number) * MEBIBYTE,
            disk_bandwidth_bytes_per_s=(104 + 3 * (number % 3)) * MEBIBYTE,
        )
        for number, each in enumerate(samples)
    )


def _put(client: Any, migration: Migration, samples: tuple[Sample, ...] = ()) -> None:
    client.recorded = MigrationDetail(migration=migration, samples=samples)
    client.fleet = changed(client.fleet, migrations=(migration,))


def cold(client: Any) -> None:
    """A stopped server with local disks on its way, after a break of the link."""
    old, moving = client.fleet.servers[4], client.fleet.migrations[0]
    migration = changed(
        moving,
        kind="cold",
        server_id=old.server_id,
        server_name=old.name,
        state=MigrationState.COPYING_DISKS,
        passes=(),
        options=MigrationOptions(max_bandwidth_bytes_per_s=110 * MEBIBYTE, auto_start=True),
        notes=(
            _noted(181, "copies vda and its backing image, 4 GiB without holes"),
            _noted(190, "the link to kvm-01 broke; the copy goes on from 1.2 GiB"),
        ),
    )
    _put(client, migration, disk_samples(client.samples * 2)[:80])


def live_disks(client: Any) -> None:
    """A running server whose disks are over, and whose memory is copied, with options."""
    moving, disks = client.fleet.migrations[0], disk_samples(client.samples)
    after_ms = disks[-1].elapsed_ms + 250
    memory = tuple(
        changed(
            each,
            elapsed_ms=each.elapsed_ms + after_ms,
            disk_total_bytes=4096 * MEBIBYTE,
            downtime_limit_ms=500,
        )
        for each in client.samples
    )
    passes = [changed(each, started_ms=each.started_ms + after_ms) for each in moving.passes]
    migration = changed(
        moving,
        passes=tuple(passes),
        options=MigrationOptions(
            skip_cpu_check=True,
            quickly_finish=True,
            max_bandwidth_bytes_per_s=100 * MEBIBYTE,
        ),
        safe="db-1 loses no CPU feature on kvm-02, so it is safe although the microcode differs",
        notes=(
            _noted(181, "downtime limit set to 500 ms", "bob"),
            _noted(190, "cap set to 100 MiB/s", "bob"),
        ),
    )
    _put(client, migration, disks + memory)


def _postcopy(client: Any, state: PostcopyState) -> None:
    moving = client.fleet.migrations[0]
    samples = tuple(
        changed(each, postcopy=number > 30) for number, each in enumerate(client.samples)
    )
    note = _noted(195, "switched to post-copy", "bob")
    _put(client, changed(moving, postcopy=state, notes=(note,)), samples)


def postcopy(client: Any) -> None:
    """A server that runs on its target and fetches its memory."""
    _postcopy(client, PostcopyState.ACTIVE)


def halted(client: Any) -> None:
    """The same after the link broke."""
    _postcopy(client, PostcopyState.PAUSED)


def kept(client: Any) -> None:
    """A failed migration that left files on its target on request."""
    failed = client.fleet.migrations[1]
    migration = changed(
        failed,
        options=MigrationOptions(keep_dest_guest_on_failed=True, prefer_host="kvm-02"),
        notes=(_noted(121, "downtime limit raised from 300 to 812 ms"),),
        kept=(
            Kept(kind="definition", path="/var/lib/godwit/kept/batch-1.xml", size_bytes=4123),
            Kept(kind="disk", path="/var/lib/libvirt/images/batch-1.qcow2", size_bytes=3 << 30),
            Kept(kind="log", path="/var/log/libvirt/qemu/batch-1.log", size_bytes=18_213),
        ),
    )
    _put(client, migration)


def doubt(client: Any) -> None:
    """A server of which a failed migration left two halted copies."""
    servers, migrations = list(client.fleet.servers), list(client.fleet.migrations)
    servers[3] = changed(
        servers[3],
        status=ServerStatus.UNKNOWN,
        status_reason="batch-1 is paused on kvm-03 and on kvm-02",
        target_host_names=(),
    )
    migrations[1] = changed(
        migrations[1],
        outcome="batch-1 is paused on kvm-03 and on kvm-02",
        advice="godwit server-settle --keep-host kvm-03 batch-1 ends the paused copy on kvm-02.",
    )
    client.fleet = changed(client.fleet, servers=tuple(servers), migrations=tuple(migrations))


SCENES: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (cold, live_disks, postcopy, halted, kept, doubt)
}
