"""One cap divided among streams."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostagent.bandwidth import (
    MIB,
    NO_LIMIT_MIB_PER_S,
    Mirror,
    divided,
    holding_text,
    start_mib_per_s,
)

SPEEDS = st.integers(min_value=1, max_value=20_000 * MIB)


def mirrors(states: str) -> tuple[Mirror, ...]:
    """One for each letter: ``r`` is ready, ``c`` still copies."""
    return tuple(
        Mirror(device=f"drive-{number}", speed_bytes_per_s=0, ready=state == "r")
        for number, state in enumerate(states)
    )


@given(total=SPEEDS, states=st.text("rc", max_size=8), memory_copied=st.booleans())
def test_the_sum_is_never_above_the_cap(total, states, memory_copied):
    shares = divided(total, mirrors(states), memory_copied=memory_copied)
    assert len(shares.mirrors) == len(states)
    assert min([shares.memory_mib_per_s, *shares.mirrors.values()]) >= 1
    used = shares.memory_mib_per_s * MIB + sum(shares.mirrors.values())
    # libvirt's least for memory, and a quarter or a byte each for disks beside it
    slack = max(0, MIB - total) + total // 4 + len(states) if total < 2 * MIB else len(states)
    assert used <= total + slack


@given(total=SPEEDS, disk_count=st.integers(min_value=0, max_value=30))
def test_what_streams_begin_with_is_under_the_cap(total, disk_count):
    each = start_mib_per_s(total, disk_count)
    assert each >= 1
    assert each * MIB * (disk_count + 1) <= max(total, (disk_count + 1) * MIB)


def test_disks_get_nearly_all_while_memory_waits_and_memory_gets_most_afterwards():
    total = 160 * MIB
    before = divided(total, mirrors("cr"), memory_copied=False)
    assert before.mirrors["drive-0"] > 0.9 * total * 0.9
    assert 0 < before.mirrors["drive-1"] < 0.1 * total
    assert before.memory_mib_per_s == 10
    after = divided(total, mirrors("rr"), memory_copied=True)
    assert after.memory_mib_per_s == 120
    assert sum(after.mirrors.values()) == 40 * MIB
    assert divided(total, (), memory_copied=True).memory_mib_per_s == 160


def test_memory_begins_with_what_it_was_reserved():
    for total, count in itertools.product((3 * MIB, 40 * MIB, 1000 * MIB), (1, 2, 5)):
        shares = divided(total, mirrors("c" * count), memory_copied=False)
        assert shares.memory_mib_per_s == start_mib_per_s(total, count)


def test_no_cap_is_said_too():
    assert start_mib_per_s(None, 3) == NO_LIMIT_MIB_PER_S == 8796093022207
    shares = divided(None, mirrors("cr"), memory_copied=False)
    assert shares.memory_mib_per_s == NO_LIMIT_MIB_PER_S
    assert set(shares.mirrors.values()) == {0}


@pytest.mark.parametrize(("total", "said"), [(MIB, False), (MIB - 1, True), (200_000, True)])
def test_what_libvirt_cannot_hold_is_told(total, said):
    assert bool(holding_text(total)) is said
