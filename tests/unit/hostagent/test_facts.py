"""What counts as a fact, and what is worth a write."""

import pytest

from hostagent.facts import (
    dotted_version,
    may_use_userfaultfd,
    notably_different,
    parse_cpuinfo,
)
from hostagent.meters import CpuTimes, busy_percent

CPUINFO = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz
microcode\t: 0x42e

processor\t: 1
model name\t: another
microcode\t: 0x1
"""


def test_cpuinfo_of_the_first_cpu():
    expected = ("Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz", "0x42e")
    assert parse_cpuinfo(CPUINFO) == expected


def test_cpuinfo_of_an_architecture_without_either():
    assert parse_cpuinfo("processor\t: 0\nBogoMIPS\t: 50.00\n") == ("", "")


def test_versions():
    assert dotted_version(9_000_000) == "9.0.0"
    assert dotted_version(7_002_022) == "7.2.22"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, False),
        ({"available_bytes": 495}, False),
        ({"available_bytes": 489}, True),
        ({"available_bytes": 511}, True),
        ({"kernel": "6.2"}, True),
        ({"pools": ()}, True),
    ],
)
def test_free_space_is_written_by_the_percent_and_all_else_at_once(make_facts, now, expected):
    assert notably_different(make_facts(), make_facts(**now)) is expected


def test_busy_share_between_two_readings():
    before = CpuTimes(busy_ns=100, idle_ns=900)
    assert busy_percent(before, CpuTimes(busy_ns=125, idle_ns=975)) == 25.0
    assert busy_percent(before, before) == 0.0


@pytest.mark.parametrize(
    ("sysctl", "qemu_conf", "may"),
    [
        ("1\n", "", True),
        ("0\n", "", False),
        ("0\n", '#user = "root"\n', False),
        ("0\n", 'dynamic_ownership = 1\nuser = "root"\n', True),
        ("0\n", "user = '+0'", True),
        ("0\n", 'user = "libvirt-qemu"\n', False),
        ("", 'user = "root"\n', False),
    ],
)
def test_who_may_catch_page_faults(sysctl, qemu_conf, may):
    assert may_use_userfaultfd(sysctl, qemu_conf) is may
