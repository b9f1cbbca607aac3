"""Which curve is drawn in which phase: disks, then memory, each by a clock of its own."""

import msgspec
import pytest

from tui.paint import length, plain
from tui.plot import GraphStyle
from tui.views.curves import curve_lines
from tui.views.figures import figures, heading
from tui.views.glyphs import UNICODE, glyphs_of
from tui.views.history import history_of
from wire.migration import MigrationOptions, MigrationParameters, MigrationState, PostcopyState

MIB = 1 << 20


@pytest.fixture
def copying(fleet, make):
    """db-1 while its disks are copied, and its samples so far."""
    samples = tuple(
        msgspec.structs.replace(
            each,
            pass_number=0,
            memory_total_bytes=0,
            memory_processed_bytes=0,
            memory_remaining_bytes=0,
            disk_total_bytes=4096 * MIB,
            disk_remaining_bytes=(4096 - 100 * number) * MIB,
            disk_bandwidth_bytes_per_s=100 * MIB,
        )
        for number, each in enumerate(make["samples"](20))
    )
    migration = msgspec.structs.replace(
        fleet.migrations[0], state=MigrationState.COPYING_DISKS, passes=()
    )
    return migration, samples


def drawn(history, style=GraphStyle.BRAILLE) -> str:
    lines = curve_lines(history, 90, 20, style, glyphs_of(style))
    assert len(lines) == 20
    assert all(length(each) <= 90 for each in lines)
    return "\n".join(plain(each) for each in lines)


def test_disks_are_drawn_while_they_are_copied(copying, graph):
    history = history_of(*copying)
    text = drawn(history, graph)
    assert "disks remaining 2.1 GiB of 4 GiB   46 % copied" in text
    assert "disk rate 100 MiB/s" in text
    assert "dirty rate" not in text
    assert "fits" not in text
    assert dict(figures(history, UNICODE))["copied"].text == "1.9 GiB of 4 GiB"


def test_a_cold_migration_keeps_its_disks_to_the_end(copying):
    migration, samples = copying
    ended = msgspec.structs.replace(migration, kind="cold", state=MigrationState.SUCCEEDED)
    assert history_of(ended, samples).subject == "disks"
    assert history_of(ended, ()).elapsed_ms == 0


def test_memory_follows_the_disks_by_a_clock_of_its_own(copying, make):
    migration, disks = copying
    after_ms = disks[-1].elapsed_ms + 1000
    memory = tuple(
        msgspec.structs.replace(
            each, elapsed_ms=each.elapsed_ms + after_ms, disk_total_bytes=4096 * MIB
        )
        for each in make["samples"](8)
    )
    now = msgspec.structs.replace(migration, state=MigrationState.COPYING_MEMORY)
    history = history_of(now, disks + memory)
    assert history.subject == "memory"
    assert history.samples[0].elapsed_ms == 0
    assert history.elapsed_ms == memory[-1].elapsed_ms - after_ms
    assert "of 257 MiB" in drawn(history)


def test_the_share_of_disks_never_runs_backwards(copying):
    migration, samples = copying
    resumed = msgspec.structs.replace(
        samples[-1], elapsed_ms=samples[-1].elapsed_ms + 250, disk_remaining_bytes=4000 * MIB
    )
    assert "46 % copied" in drawn(history_of(migration, (*samples, resumed)))


def test_a_cap_that_holds_now_is_shown(copying):
    migration, samples = copying
    capped = msgspec.structs.replace(
        migration,
        options=MigrationOptions(max_bandwidth_bytes_per_s=110 * MIB),
        parameters=MigrationParameters(max_bandwidth_bytes_per_s=60 * MIB),
    )
    assert dict(figures(history_of(capped, samples), UNICODE))["cap"].text == "60 MiB/s"


def test_the_line_of_what_fits_moves_with_the_limit(fleet, make):
    migration, samples = fleet.migrations[0], make["samples"](20)
    before = history_of(migration, samples)
    raised = msgspec.structs.replace(samples[-1], downtime_limit_ms=900)
    after = history_of(migration, (*samples[:-1], raised))
    assert after.fits_bytes == pytest.approx(3 * before.fits_bytes, abs=3)
    assert "fit into 900 ms" in drawn(after)


def test_after_post_copy_nothing_has_to_fit(fleet, make):
    migration, samples = fleet.migrations[0], make["samples"](20)
    switched = (*samples[:-1], msgspec.structs.replace(samples[-1], postcopy=True))
    history = history_of(migration, switched)
    assert "fit into" not in drawn(history)
    assert "converge" not in drawn(history)
    assert "to fetch" in dict(figures(history, UNICODE))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (PostcopyState.ASKED, "▲ post-copy asked for"),
        (PostcopyState.ACTIVE, "▲ post-copy  "),
        (PostcopyState.PAUSED, "✖ post-copy stands still"),
    ],
)
def test_the_heading_tells_post_copy(fleet, make, state, words):
    migration = msgspec.structs.replace(fleet.migrations[0], postcopy=state)
    assert words in plain(heading(migration, make["samples"](20)[-1], UNICODE))
