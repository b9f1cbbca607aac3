"""Live migrations with local disks, changed in flight, or leaving something for whoever looks."""

import signal

import pytest

from lab.errors import LabError
from lab.state import LinkLimit
from wire.errors import ErrorCode
from wire.fleet import ServerStatus
from wire.migration import MigrationState, PostcopyState

pytestmark = pytest.mark.lab

MIB = 1 << 20


def local_images(lab, server: str) -> list[str]:
    """Hosts that hold an image of this server in their local pool."""
    return [
        host.name
        for host in lab.state.hosts
        if list(lab.folders.local(host.name).glob(f"*{server}*"))
    ]


def test_a_local_disk_moves_with_its_running_server_and_leaves_the_source(
    lab, api, add_known, hosts_of, assert_whole
):
    spec = add_known(storage="mixed")
    assert local_images(lab, spec.name) == ["kvm-01"]
    ended = api.until_ended(api.move(spec.name, prefer_host="kvm-02").migration_id)
    assert (ended.state, ended.outcome, ended.error) == (
        MigrationState.SUCCEEDED,
        f"{spec.name} runs on kvm-02",
        "",
    )
    assert hosts_of(spec.name) == {"kvm-02": "running"}
    assert local_images(lab, spec.name) == ["kvm-02"]
    assert_whole("kvm-02", spec.name)


def test_a_cancel_while_a_local_disk_is_copied_leaves_nothing_on_the_target(
    lab, api, add_known, hosts_of, assert_whole
):
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=8_000_000))
    spec = add_known(storage="mixed")
    asked = api.move(spec.name, prefer_host="kvm-02")

    def copying() -> bool:
        detail = api.detail(asked.migration_id)
        assert not detail.migration.state.ended, detail.migration
        return bool(detail.samples)

    api.until("the job runs", copying)
    assert api.ask(f"/v1/migrations/{asked.migration_id}/cancel").is_success
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome) == (
        MigrationState.CANCELLED,
        f"{spec.name} runs on kvm-01",
    )
    assert hosts_of(spec.name) == {"kvm-01": "running"}
    assert local_images(lab, spec.name) == ["kvm-01"]
    assert_whole("kvm-01", spec.name)


def test_what_a_failed_move_leaves_is_kept_on_request_until_it_is_removed(
    lab, api, add_busy, hosts_of
):
    spec = add_busy()
    asked = api.move(spec.name, keep_dest_guest_on_failed=True)
    api.until_copying(asked.migration_id)
    lab.signal_program("kvm-02", "libvirtd", signal.SIGKILL)
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome) == (MigrationState.FAILED, f"{spec.name} runs on kvm-01")
    assert {"log", "job"} <= {one.kind for one in ended.kept}
    listed = " ".join(one.path for one in ended.kept)
    assert lab.execute("kvm-02", "ls", *listed.split()).returncode == 0
    answer = api.ask(f"/v1/migrations/{asked.migration_id}/remove-kept")
    assert answer.is_success, answer.text
    assert api.detail(asked.migration_id).migration.kept == ()
    assert lab.execute("kvm-02", "ls", *listed.split()).returncode != 0
    lab.limit_link("kvm-01", LinkLimit())
    again = api.until(
        "movable", lambda: "kvm-02" in api.server(spec.name).target_host_names
    ) and api.move(spec.name, prefer_host="kvm-02")
    assert api.until_ended(again.migration_id).state is MigrationState.SUCCEEDED
    assert hosts_of(spec.name) == {"kvm-02": "running"}


def test_the_cap_is_changed_in_flight_and_the_record_says_by_whom(api, add_busy):
    spec = add_busy()
    asked = api.move(spec.name, max_bandwidth_bytes_per_s=2 * MIB)
    api.until_copying(asked.migration_id)
    path = f"/v1/migrations/{asked.migration_id}/parameters"
    refusal = api.refusal(path, max_bandwidth_bytes_per_s=0)
    assert refusal.code is ErrorCode.BAD_REQUEST
    answer = api.ask(path, max_bandwidth_bytes_per_s=512 * MIB, downtime_limit_ms=900)
    assert answer.is_success, answer.text
    ended = api.until_ended(asked.migration_id)
    assert ended.state is MigrationState.SUCCEEDED
    assert (ended.max_bandwidth_bytes_per_s, ended.downtime_limit_ms) == (512 * MIB, 900)
    asked_for = [one for one in ended.notes if one.by == "operator"]
    assert "from 2 MiB/s to 512 MiB/s" in asked_for[0].text


def test_a_switch_to_post_copy_ends_a_move_that_would_not(lab, api, add_busy, assert_whole):
    spec = add_busy()
    asked = api.move(spec.name, prefer_host="kvm-02")
    api.until_copying(asked.migration_id)
    answer = api.ask(f"/v1/migrations/{asked.migration_id}/postcopy")
    assert answer.is_success, answer.text
    ended = api.until_ended(asked.migration_id)
    assert (ended.state, ended.outcome) == (
        MigrationState.SUCCEEDED,
        f"{spec.name} runs on kvm-02",
    )
    assert ended.postcopy is not PostcopyState.NOT
    assert "operator" in {one.by for one in ended.notes}
    api.until("running", lambda: api.server(spec.name).status is ServerStatus.RUNNING)
    assert_whole("kvm-02", spec.name)


@pytest.mark.long
def test_a_guest_whose_source_half_dies_in_post_copy_is_lost_and_can_be_settled(
    lab, api, add_busy, hosts_of
):
    spec = add_busy()
    lab.limit_link("kvm-01", LinkLimit(rate_bits_per_s=40_000_000))
    asked = api.move(spec.name, prefer_host="kvm-02")
    api.until_copying(asked.migration_id)
    assert api.ask(f"/v1/migrations/{asked.migration_id}/postcopy").is_success

    def active() -> bool:
        migration = api.detail(asked.migration_id).migration
        assert not migration.state.ended, migration
        return migration.postcopy is PostcopyState.ACTIVE

    api.until("in post-copy", active)
    refusal = api.refusal(f"/v1/migrations/{asked.migration_id}/cancel")
    assert (refusal.code, "post-copy" in refusal.message) == (ErrorCode.CONFLICT, True)
    # the record tells of the source, which switches first
    halves = {"kvm-01": "paused", "kvm-02": "running"}
    api.until("a half on each host", lambda: hosts_of(spec.name) == halves)
    emulator = f"kill -9 $(cat /run/libvirt/qemu/{spec.name}.pid)"
    assert lab.execute("kvm-01", "sh", "-c", emulator).returncode == 0
    ended = api.until(
        "lost",
        lambda: found if (found := api.detail(asked.migration_id).migration).state.ended else None,
    )
    assert ended.state is MigrationState.FAILED
    assert "is lost: it ran in post-copy" in ended.outcome
    assert "godwit server-settle" in ended.advice
    settling = f"/v1/servers/{spec.name}/settle"
    refusal = api.refusal(settling, keep_host="kvm-02")
    assert "kvm-02 has no whole copy" in refusal.message
    answer = api.ask(settling, keep_host="kvm-01")
    assert answer.is_success, answer.text
    assert hosts_of(spec.name) == {"kvm-01": "shut off"}
    api.until("ready", lambda: api.server(spec.name).status is ServerStatus.READY)
    # libvirtd 9.0 never ends the call in which QEMU died, and holds the domain's lock with it
    assert "restart libvirtd on kvm-01" in ended.advice
    lab.signal_program("kvm-01", "libvirtd", signal.SIGKILL)

    shown = ""

    def stopped_still() -> bool:
        nonlocal shown
        try:
            # in short tries: a libvirtd that is only just starting may keep one waiting
            shown = lab.virsh("kvm-01", f"domstate {spec.name}", timeout_s=10).strip()
        except LabError as error:
            shown = str(error)
        return shown == "shut off"

    # libvirtd shows what it knew of a guest until it has found out that its QEMU is gone, and the
    # agent, which has its libvirtd back then, starts nothing that was settled to be off
    try:
        api.until("libvirtd is back", stopped_still)
    except AssertionError:
        log = (lab.folders.log("kvm-01") / "libvirtd.log").read_text()[-2000:]
        pytest.fail(f"libvirtd of kvm-01 says {shown!r} of {spec.name}; its log:\n{log}")
    assert hosts_of(spec.name) == {"kvm-01": "shut off"}
