"""What people did, for the pictures and tests of the Audit view."""

from typing import Any

from wire.audit import AuditEntry, AuditObject
from wire.role import Role

NOON_MS = 1_795_435_200_000
MINUTE_MS = 60_000

_DB_1 = AuditObject(kind="server", object_id="7c1d0000-0000-4000-8000-000000000002", name="db-1")


def _host(number: int) -> AuditObject:
    host_id = f"0b5e4a4e-0000-4000-8000-0000000000{number:02d}"
    return AuditObject(kind="host", object_id=host_id, name=f"kvm-{number:02d}")


def make_act(
    number: int, minutes: float, user: str, verb: str, *objects: AuditObject, **parameters: Any
) -> AuditEntry:
    """An act so many minutes before noon."""
    return AuditEntry(
        entry_id=f"5d2f00{number:06x}",
        at_ms=NOON_MS - round(minutes * MINUTE_MS),
        user=user,
        role=Role.OPERATOR,
        verb=verb,
        objects=objects,
        parameters=parameters,
    )


MIB = 1 << 20
ACTS = (
    make_act(
        1,
        2,
        "alice",
        "server-live-migrate",
        _DB_1,
        prefer_host="kvm-02",
        max_bandwidth_bytes_per_s=100 * MIB,
        skip_cpu_check=True,
        quickly_finish=True,
        downtime_bound_ms=5_000,
    ),
    make_act(2, 4, "alice", "server-cancel-live-migrate", _DB_1, migration="a1b2c3d4e5f6"),
    make_act(
        3,
        5,
        "alice",
        "server-set-live-migrate-params",
        _DB_1,
        no_bandwidth_limit=True,
        migration="a1b2c3d4e5f6",
    ),
    make_act(4, 17, "bob", "host-exit-maintenance", _host(3)),
    make_act(
        5,
        58,
        "bob",
        "host-evacuate",
        _host(3),
        _host(2),
        max_bandwidth_bytes_per_s=110 * MIB,
        keep_spare=True,
        empty_by_ms=NOON_MS + 30 * MINUTE_MS,
        edits="server db-1, target kvm-01, first yes; server old-1, way stays",
    ),
    make_act(6, 61, "night-shift-automation", "rescue-arm"),
    make_act(
        7,
        95,
        "night-shift-automation",
        "rescue-disarm",
        reason="work on the storage switch until 04:00",
    ),
    make_act(
        8,
        1_500,
        "bob",
        "host-auto-migrate-on-host-down",
        _host(1),
        auto_migrate_on_host_down=True,
        auto_migrate_on_host_shutdown=False,
    ),
    make_act(9, 1_501, "bob", "server-set-rescue-priority", _DB_1, rescue_priority="high"),
    make_act(10, 2_900, "carol", "host-declare-off", _host(4)),
    make_act(11, 2_901, "carol", "server-migrate --rescue-mode", _DB_1, auto_start=True),
    make_act(12, 4_400, "carol", "server-forget", _DB_1),
)


def audited(client: Any, *more: AuditEntry) -> None:
    """Have the backend tell of twelve acts, and of more."""
    client.acts = [*more, *ACTS]
