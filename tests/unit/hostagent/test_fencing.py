"""What an agent believes of the fence's file, and what it says in its own."""

from pathlib import Path

import pytest

from hostagent.fence.word import STATUS, Status, read_word, write
from hostagent.fencing import Fencing
from wire.lease import boot_clock_s
from wire.life import Fence


def said(folder: Path, *, ago_s: float, armed: bool = True, timeout_s: int = 1) -> None:
    write(folder / STATUS, Status(boot_clock_s() - ago_s, 1, armed, timeout_s))


def armed(fencing: Fencing) -> Fence:
    return fencing.arm("h", 1, sent_s=boot_clock_s(), ttl_s=5).fence


def test_what_the_fence_said_before_it_was_asked_is_of_no_value(tmp_path):
    fencing = Fencing(tmp_path)
    said(tmp_path, ago_s=0.1)
    assert armed(fencing) is Fence.NONE


def test_a_fence_that_was_asked_for_in_vain_is_not_asked_for_any_more(tmp_path):
    fencing = Fencing(tmp_path)
    said(tmp_path, ago_s=0.0, armed=False, timeout_s=0)
    assert armed(fencing) is Fence.NONE
    assert not read_word(tmp_path).armed
    assert not read_word(tmp_path).begun


@pytest.mark.parametrize(
    ("ago_s", "timeout_s", "fence"),
    [(1.5, 1, Fence.WATCHDOG), (2.5, 1, Fence.NONE), (7.5, 7, Fence.WATCHDOG), (9, 7, Fence.NONE)],
)
def test_a_fence_that_is_away_for_less_than_its_card_counts_as_armed(
    tmp_path, ago_s, timeout_s, fence
):
    said(tmp_path, ago_s=ago_s, timeout_s=timeout_s)
    assert Fencing(tmp_path).force().fence is fence
