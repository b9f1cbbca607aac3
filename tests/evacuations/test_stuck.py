"""A server whose forecast does not hold: it is given up, named with its lever, and then leaves."""

from typing import Any

import pytest

from lab.guest import boot_image
from lab.server import MIB, Workload
from tests.evacuations.outcome import assert_true
from tests.fleet import Fleet
from wire.evacuation import MoveState
from wire.forecast import Basis, Ease

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(400)]

SOURCE = "kvm-01"
HOT = Workload(working_set_mb=2, dirty_mb_per_s=400)
"""More than a link of 1 MiB/s carries even if QEMU lets the guest run a hundredth of the time."""


def heat(fleet: Fleet, name: str) -> None:
    """Have a guest write far more from now on: its program is told so, and begins anew."""
    image = fleet.lab.folders.shared / f"{name}.img"
    program = (fleet.lab.folders.root / "guest.bin").read_bytes()
    with image.open("r+b") as disk:
        disk.write(boot_image(program, HOT, drive_count=1))
    fleet.lab.virsh(SOURCE, f"reset {name}")
    fleet.eventually(
        lambda: fleet.lab.guest_report(SOURCE, name).pages_per_s == HOT.pages_per_s,
        within_s=30,
        what=f"{name} is hot",
    )
    fleet.wait_for_working_set(SOURCE, name)


def test_one_that_was_calm_and_is_hot_waits_for_a_lever(fleet: Fleet, office: Any):
    hot, calm = fleet.add_server(working_set_mb=2), fleet.add_server()

    def forecast() -> Any:
        (plan,) = office.plan(SOURCE, max_bandwidth_bytes_per_s=MIB)
        return next(one.forecast for one in plan.moves if one.server_name == hot)

    fleet.eventually(
        lambda: forecast().basis is Basis.MEASURED, within_s=60, what=f"{hot} is measured"
    )
    assert forecast().ease is Ease.EASY
    heat(fleet, hot)
    (evacuation,) = office.begin(SOURCE, max_bandwidth_bytes_per_s=MIB)
    assert office.lines(evacuation)[hot].plan.forecast.ease is Ease.EASY

    def given_up(_: Any) -> Any:
        line = office.lines(evacuation)[hot]
        return line if line.tries == 1 and line.state is MoveState.WAITING else None

    line = office.until(evacuation, given_up, "it is given up", within_s=200)
    record = office.detail(line.migration_id).migration
    assert record.cancel_requested_by == "evacuation (did not converge)"
    assert any("does not converge" in note.text for note in record.notes), record.notes
    assert line.plan.forecast.ease is Ease.STUCK
    assert fleet.running_on(hot) == [SOURCE]
    office.until(evacuation, lambda _: office.states(evacuation)[calm] is MoveState.LEFT, "leaves")
    assert office.states(evacuation)[hot] is MoveState.WAITING
    assert office.lines(evacuation)[hot].reason

    done = fleet.godwit("evacuation-change", "--set", f"{hot}:quickly-finish", SOURCE)
    assert done.returncode == 0, done.stderr
    report = office.end(evacuation)
    lines = office.lines(report)
    assert (lines[hot].state, lines[hot].tries) == (MoveState.LEFT, 2)
    assert_true(office, report)
    there = lines[hot].plan.target_host_name
    assert fleet.running_on(hot) == [there]
    assert fleet.lab.guest_report(there, hot).memory_faults == 0
