"""What the wait draws, on a real pseudo-terminal and without one."""

import io

import msgspec

from tui.commands.progress import Progress
from wire.migration import Migration, MigrationState, Note, Pass, Sample

MOVING = Migration(
    migration_id="m-1",
    server_id="s-1",
    server_name="web-\x1b[31m1",
    source_host_id="h-1",
    source_host_name="kvm-01",
    target_host_id="h-2",
    target_host_name="kvm-02",
    state=MigrationState.COPYING_MEMORY,
)


def one_pass(number: int) -> Pass:
    return Pass(
        number=number,
        started_ms=0,
        duration_ms=1400,
        remaining_at_start_bytes=65 << 20,
        transferred_bytes=62 << 20,
        dirty_bytes_per_s=19 << 20,
        bandwidth_bytes_per_s=45 << 20,
        throttle_percent=20,
    )


def sample(remaining_mib: int, **more: int) -> Sample:
    return Sample(
        **{
            "elapsed_ms": 12_300,
            "pass_number": 3,
            "memory_total_bytes": 256 << 20,
            "memory_processed_bytes": 0,
            "memory_remaining_bytes": remaining_mib << 20,
            "bandwidth_bytes_per_s": 45 << 20,
            "dirty_bytes_per_s": 18 << 20,
            "expected_downtime_ms": 120,
            "downtime_limit_ms": 300,
            "throttle_percent": 0,
            **more,
        }
    )


def tell_story(progress: Progress) -> None:
    progress.on_migration(MOVING)
    progress.on_sample(sample(226))
    progress.on_migration(msgspec.structs.replace(MOVING, passes=(one_pass(1), one_pass(2))))
    progress.on_sample(sample(65))
    progress.on_link("https://backend refuses")
    progress.on_link("https://backend refuses")
    progress.on_link("")


def test_without_a_terminal_each_pass_and_phase_is_one_line():
    stream = io.StringIO()
    progress = Progress(stream)
    tell_story(progress)
    progress.on_migration(
        msgspec.structs.replace(
            MOVING, state=MigrationState.SUCCEEDED, passes=(one_pass(1), one_pass(2))
        )
    )
    progress.close()
    assert stream.getvalue().splitlines() == [
        r"migration m-1: web-\x1b[31m1 goes from kvm-01 to kvm-02",
        "copying memory",
        "pass    to send       sent         took     bandwidth    dirty rate  throttle",
        "   1     65 MiB     62 MiB        1.4 s      45 MiB/s             -      20 %",
        "https://backend refuses; the migration goes on, and so does the wait for it",
        "connected again",
        "   2     65 MiB     62 MiB        1.4 s      45 MiB/s      19 MiB/s      20 %",
        "succeeded",
    ]


def test_a_silent_source_is_told_once_and_so_is_its_return():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.on_migration(MOVING)
    for age_s in (5, 10):
        reason = f"kvm-01 does not answer, last heard {age_s} s ago"
        progress.on_migration(msgspec.structs.replace(MOVING, stalled_reason=reason))
    progress.on_migration(MOVING)
    assert stream.getvalue().splitlines()[2:] == [
        "kvm-01 does not answer, last heard 5 s ago; the wait goes on",
        "kvm-01 answers again",
    ]


def test_on_a_terminal_the_last_line_is_rewritten(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream, shown = terminal
    progress = Progress(stream)
    tell_story(progress)
    progress.on_sample(sample(64, throttle_percent=40, elapsed_ms=13_000))
    assert shown() == [
        r"migration m-1: web-\x1b[31m1 goes from kvm-01 to kvm-02",
        "pass    to send       sent         took     bandwidth    dirty rate  throttle",
        "   1     65 MiB     62 MiB        1.4 s      45 MiB/s             -      20 %",
        "https://backend refuses; the migration goes on, and so does the wait for it",
        "connected again",
        "copying memory  pass 3  64 MiB left  45 MiB/s  dirty 18 MiB/s  throttle 40 %  1",
    ]
    progress.close()
    assert shown()[-1] == "connected again"


COPYING = msgspec.structs.replace(MOVING, kind="cold", state=MigrationState.COPYING_DISKS)


def disks(remaining_mib: int, total_mib: int = 1000) -> Sample:
    return sample(
        0,
        pass_number=0,
        disk_total_bytes=total_mib << 20,
        disk_remaining_bytes=remaining_mib << 20,
        disk_bandwidth_bytes_per_s=105 << 20,
    )


def test_without_a_terminal_each_tenth_of_the_disks_is_one_line():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.on_migration(COPYING)
    for remaining_mib in (1000, 950, 899, 850, 400, 380, 0):
        progress.on_sample(disks(remaining_mib))
    assert stream.getvalue().splitlines()[2:] == [
        "copying disks  10 %  101 MiB of 1000 MiB  105 MiB/s  12.3 s",
        "copying disks  60 %  600 MiB of 1000 MiB  105 MiB/s  12.3 s",
        "copying disks  100 %  1000 MiB of 1000 MiB  105 MiB/s  12.3 s",
    ]


def test_a_copy_that_was_resumed_does_not_run_backwards(terminal):
    stream, shown = terminal
    progress = Progress(stream)
    progress.on_migration(COPYING)
    progress.on_sample(disks(500))
    progress.on_sample(disks(900))
    assert shown()[-1].startswith("copying disks  50 %  500 MiB of 1000 MiB")
    progress.on_sample(disks(450))
    assert shown()[-1].startswith("copying disks  55 %")


def test_nothing_is_said_of_disks_whose_size_is_not_known_yet(terminal):
    stream, shown = terminal
    progress = Progress(stream)
    progress.on_migration(COPYING)
    progress.on_sample(disks(0, total_mib=0))
    assert shown()[-1] == "copying disks  12.3 s"


def test_each_note_is_told_once():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.on_migration(MOVING)
    note = Note(at_ms=1, text="downtime limit raised from 300 to 812 ms")
    noted = msgspec.structs.replace(MOVING, notes=(note,))
    progress.on_migration(noted)
    cap = Note(at_ms=2, text="cap set to 50 MiB/s", by="bob")
    progress.on_migration(msgspec.structs.replace(noted, notes=(note, cap)))
    assert stream.getvalue().splitlines()[2:] == [
        "downtime limit raised from 300 to 812 ms",
        "cap set to 50 MiB/s (by bob)",
    ]
