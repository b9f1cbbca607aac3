"""Every reason not to act on a host, alone and together; and that nothing else hinders."""

import msgspec
import pytest

from backend.health.sightings import UNKNOWN_TTL_S
from backend.rescue.proof import GUARD_S, Evidence, prove
from backend.rescue.storm import cut_off, storm
from wire.life import Fence, HealthValue

FENCED = HealthValue(boot_id="b", epoch=3, fence=Fence.WATCHDOG, ttl_s=10)
UNFENCED = HealthValue(boot_id="b", epoch=3, fence_detail="no /dev/watchdog", ttl_s=10)
UNTOLD = HealthValue(boot_id="b", epoch=3, fence=Fence.WATCHDOG)
DEAD = Evidence(
    host_name="kvm-03",
    life=FENCED,
    absent_since_s=100.0,
    cannot_live_before_s=101.5,
    watching_since_s=50.0,
)
# what differs, now, dead, words of what is needed, words of what is waited for, when again
TABLE = [
    ({}, 101.5, True, "", "", 0.0),
    ({}, 101.4, False, "", "its lease as last read", 0.1),
    ({"cannot_live_before_s": 100.2}, 100.9, False, "", "the guard of 1 s", 0.1),
    ({"cannot_live_before_s": 100.2}, 101.0, True, "", "", 0.0),
    ({"cannot_live_before_s": None}, 900.0, False, "", "a look at the lease", 1.0),
    ({"watching_since_s": 95.0}, 105.9, False, "", "a whole lease of 10 s", 0.1),
    ({"watching_since_s": 95.0}, 106.0, True, "", "", 0.0),
    ({"life": UNTOLD}, 50.0 + UNKNOWN_TTL_S, False, "", "a whole lease of 60 s", GUARD_S),
    ({"life": UNTOLD}, 51.0 + UNKNOWN_TTL_S, True, "", "", 0.0),
    ({"absent_since_s": None, "left_s": 4}, 900.0, False, "holds its health key, with 4 s", "", 0),
    ({"absent_since_s": None}, 900.0, False, "holds its health key", "", 0),
    ({"etcd_error": "etcd is away"}, 900.0, False, "etcd is away", "", 0),
    ({"life": UNFENCED}, 900.0, False, "unfenced (no /dev/watchdog)", "", 0),
    ({"life": UNFENCED}, 101.0, False, "godwit host-declare-off kvm-03", "its lease", 0.5),
    ({"life": UNFENCED, "declared_off_by": "ann"}, 900.0, True, "", "", 0),
    ({"life": UNFENCED, "declared_off_by": "ann"}, 101.0, False, "", "its lease", 0.5),
    ({"unreadable": "no such life"}, 900.0, False, "no such life", "", 0),
    ({"unreadable": "no such life", "declared_off_by": "ann"}, 900.0, False, "no such life", "", 0),
    ({"declared_off_by": "ann", "absent_since_s": None}, 900.0, False, "holds its key", "", 0),
]


@pytest.mark.parametrize(("differs", "now_s", "dead", "needs", "waits", "again_in_s"), TABLE)
def test_a_host_is_dead_only_when_nothing_is_missing(
    differs, now_s, dead, needs, waits, again_in_s
):
    proof = prove(msgspec.structs.replace(DEAD, **differs), now_s=now_s)
    assert proof.dead is dead
    assert set(needs.split()) <= set(proof.needs.split()) or needs in proof.needs
    assert waits in proof.waits_for
    assert bool(proof.needs) is bool(needs)
    assert bool(proof.waits_for) is bool(waits)
    assert proof.again_in_s == pytest.approx(again_in_s)
    assert bool(proof.missing) is not dead


def test_the_reason_says_who_made_sure():
    assert "its watchdog" in prove(DEAD, now_s=900.0).reason
    declared = msgspec.structs.replace(DEAD, life=UNFENCED, declared_off_by="ann")
    assert "ann has declared" in prove(declared, now_s=900.0).reason


@pytest.mark.parametrize(
    ("lost", "late", "up", "stormy"),
    [
        (1, 0, 1, False),
        (1, 0, 4, False),
        (2, 0, 4, True),
        (2, 0, 5, False),
        (1, 1, 4, True),
        (0, 4, 4, False),
        (3, 0, 3, True),
        (1, 1, 5, False),
        (50, 0, 100, True),
        (49, 0, 100, False),
    ],
)
def test_half_of_the_hosts_together_are_a_storm(lost, late, up, stormy):
    names = [f"kvm-{number:03}" for number in range(up)]
    gone, there = names[:lost], names[lost:]
    reason = storm(lost=gone, late=there[:late], present=there)
    assert bool(reason) is stormy


def test_a_storm_says_how_many_and_who():
    assert storm(lost=["b", "a"], late=[], present=["c"]) == (
        "2 of 3 hosts were lost together: a, b"
    )


@pytest.mark.parametrize(
    ("reached", "present", "hindered"),
    [(2, 4, False), (1, 4, True), (0, 1, True), (0, 0, False), (1, 2, False), (1, 3, True)],
)
def test_fewer_than_half_of_the_agents_are_too_few(reached, present, hindered):
    assert bool(cut_off(reached=reached, present=present)) is hindered
