"""Cold migrations through the API on real hosts: what moves, and what fails on the way."""

import hashlib
import signal
from pathlib import Path

import httpx
import msgspec
import pytest

from lab.state import LinkLimit
from wire.errors import ErrorCode
from wire.fleet import ServerStatus
from wire.migration import Migration, MigrationState

pytestmark = pytest.mark.lab

MIB = 1 << 20


@pytest.fixture
def move_cold(api):
    def move(server: str, **options: object) -> Migration:
        answer = api.ask(f"/v1/servers/{server}/migrate", **options)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return msgspec.json.decode(answer.content, type=Migration)

    return move


@pytest.fixture
def images(lab):
    """Paths of a server's local images, by host."""

    def find(server: str) -> dict[str, list[Path]]:
        found = {
            host.name: sorted(lab.folders.local(host.name).glob(f"*{server}*"))
            for host in lab.state.hosts
        }
        return {host: paths for host, paths in found.items() if paths}

    return find


@pytest.fixture
def add_slow(lab, api, add_known):
    """Add a stopped server on kvm-01 whose local disk takes some seconds to copy."""

    def add():
        spec = add_known(storage="local", stopped=True)
        image = lab.folders.local("kvm-01") / f"{spec.name}.img"
        with image.open("r+b") as disk:
            disk.seek(4 * MIB)
            disk.write(hashlib.shake_256(spec.name.encode()).digest(12 * MIB))
        lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=8_000_000))
        return spec

    return add


def until_copying(api, migration_id: str) -> None:
    def copying() -> bool:
        detail = api.detail(migration_id)
        assert not detail.migration.state.ended, detail.migration
        samples = detail.samples
        return bool(samples) and samples[-1].disk_remaining_bytes < samples[-1].disk_total_bytes

    api.until("files are copied", copying)


def digest(path: Path) -> str:
    with path.open("rb") as image:
        return hashlib.file_digest(image, "sha256").hexdigest()


def test_a_stopped_server_moves_with_its_local_disk_and_leaves_nothing(
    lab, api, add_known, move_cold, hosts_of, images
):
    spec = add_known(storage="local", stopped=True)
    assert "kvm-02" in api.server(spec.name).target_host_names
    (image,) = images(spec.name)["kvm-01"]
    before = digest(image)
    asked = move_cold(spec.name, prefer_host="kvm-02")
    assert (asked.kind, asked.state) == ("cold", MigrationState.QUEUED)
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome, ended.error) == (
        MigrationState.SUCCEEDED,
        f"{spec.name} is stopped on kvm-02",
        "",
    )
    assert hosts_of(spec.name) == {"kvm-02": "shut off"}
    moved = images(spec.name)
    assert list(moved) == ["kvm-02"]
    assert [digest(one) for one in moved["kvm-02"]] == [before]
    after = api.until("ready", lambda: ready(api, spec.name, "kvm-02"))
    assert (after.generation, after.migration_id) == (2, "")


def ready(api, server: str, host: str):
    shown = api.server(server)
    return shown if (shown.status, shown.host_name) == (ServerStatus.READY, host) else None


def test_mixed_and_shared_disks_move_and_start_where_they_arrive(
    api, add_known, move_cold, hosts_of, images, assert_whole
):
    for storage in ("mixed", "shared"):
        spec = add_known(storage=storage, stopped=True)
        asked = move_cold(spec.name, prefer_host="kvm-02", auto_start=True)
        ended = api.until_ended(asked.migration_id)
        assert (ended.state, ended.outcome) == (
            MigrationState.SUCCEEDED,
            f"{spec.name} runs on kvm-02",
        )
        assert hosts_of(spec.name) == {"kvm-02": "running"}
        assert set(images(spec.name)) <= {"kvm-02"}
        assert_whole("kvm-02", spec.name)


def test_while_it_copies_it_is_migrating_and_a_cancel_takes_everything_back(
    api, add_slow, move_cold, hosts_of, images
):
    spec = add_slow()
    asked = move_cold(spec.name, prefer_host="kvm-02")
    until_copying(api, asked.migration_id)
    assert api.server(spec.name).status is ServerStatus.MIGRATING
    again = api.refusal(f"/v1/servers/{spec.name}/migrate")
    assert (again.code, "already migrates" in again.message) == (ErrorCode.CONFLICT, True)
    assert api.ask(f"/v1/migrations/{asked.migration_id}/cancel").is_success
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome) == (
        MigrationState.CANCELLED,
        f"{spec.name} is stopped on kvm-01",
    )
    assert hosts_of(spec.name) == {"kvm-01": "shut off"}
    assert list(images(spec.name)) == ["kvm-01"]


@pytest.mark.parametrize(
    ("node", "program"),
    [
        ("controller", "backend"),
        ("controller", "etcd"),
        ("kvm-01", "hostagent"),
        ("kvm-02", "hostagent"),
        ("kvm-01", "libvirtd"),
        ("kvm-02", "libvirtd"),
    ],
)
def test_a_program_killed_while_files_are_copied_does_not_stop_it(
    lab, api, add_slow, move_cold, hosts_of, images, *, node, program
):
    spec = add_slow()
    (image,) = images(spec.name)["kvm-01"]
    before = digest(image)
    asked = move_cold(spec.name, prefer_host="kvm-02")
    until_copying(api, asked.migration_id)
    lab.signal_program(node, program, signal.SIGKILL)
    lab.limit_link("kvm-01", LinkLimit())
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.error) == (MigrationState.SUCCEEDED, "")
    assert hosts_of(spec.name) == {"kvm-02": "shut off"}
    moved = images(spec.name)
    assert list(moved) == ["kvm-02"]
    assert [digest(one) for one in moved["kvm-02"]] == [before]


def test_a_cut_link_breaks_the_copy_off_and_it_goes_on_where_it_was(
    lab, api, add_slow, move_cold, hosts_of, images
):
    spec = add_slow()
    asked = move_cold(spec.name, prefer_host="kvm-02")
    until_copying(api, asked.migration_id)
    lab.partition("kvm-01")
    api.until("told", lambda: api.detail(asked.migration_id).migration.stalled_reason)
    lab.heal("kvm-01")
    lab.limit_link("kvm-01", LinkLimit())
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.error) == (MigrationState.SUCCEEDED, "")
    curve = api.detail(asked.migration_id).samples
    elapsed_ms = [one.elapsed_ms for one in curve]
    assert elapsed_ms == sorted(set(elapsed_ms))
    assert hosts_of(spec.name) == {"kvm-02": "shut off"}
    assert list(images(spec.name)) == ["kvm-02"]


def test_a_server_started_by_hand_meanwhile_stays_where_it_is(
    lab, api, add_slow, move_cold, hosts_of, images, assert_whole
):
    spec = add_slow()
    asked = move_cold(spec.name, prefer_host="kvm-02")
    until_copying(api, asked.migration_id)
    lab.virsh("kvm-01", f"start {spec.name}")
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome) == (MigrationState.FAILED, f"{spec.name} runs on kvm-01")
    assert "started" in ended.error
    assert hosts_of(spec.name) == {"kvm-01": "running"}
    assert list(images(spec.name)) == ["kvm-01"]
    assert_whole("kvm-01", spec.name)


def test_a_server_that_is_on_twice_is_settled_and_one_in_order_is_not(
    lab, api, add_known, hosts_of
):
    spec = add_known()
    in_order = api.refusal(f"/v1/servers/{spec.name}/settle", keep_host="kvm-01")
    assert (in_order.code, "nothing to settle" in in_order.message) == (ErrorCode.CONFLICT, True)
    definition = lab.virsh("kvm-01", f"dumpxml --inactive {spec.name}")
    copy = lab.folders.etc("kvm-02") / "godwit" / f"{spec.name}.xml"
    copy.write_text(definition)
    try:
        lab.virsh("kvm-02", f"define /etc/godwit/{spec.name}.xml")
    finally:
        copy.unlink()
    assert hosts_of(spec.name) == {"kvm-01": "running", "kvm-02": "shut off"}
    answer = api.until(
        "the copy is seen",
        lambda: (
            found
            if (found := api.ask(f"/v1/servers/{spec.name}/settle", keep_host="kvm-01")).is_success
            else None
        ),
    )
    assert answer.json()["host_name"] == "kvm-01"
    assert hosts_of(spec.name) == {"kvm-01": "running"}
    assert api.server(spec.name).generation == 2
