"""Which target is chosen, and what is said when there is none."""

import pytest

from backend.migrations.choice import all_candidates, pick
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostPolicy


def judged(two):
    return all_candidates(two.fleet, two.fleet.records[two.server.server_id])


def refusal(two, prefer_host_id: str = "") -> GodwitError:
    with pytest.raises(GodwitError) as caught:
        pick("web-1", judged(two), prefer_host_id)
    assert caught.value.code is ErrorCode.NO_TARGET
    assert {one.host_name for one in caught.value.candidates} >= {"kvm-01", "kvm-02"}
    return caught.value


def test_the_best_fitting_host_is_chosen(two, make_host):
    emptier = make_host(3, memory_total_bytes=64 << 30)
    two.add_host(emptier)
    two.report(emptier)
    assert pick("web-1", judged(two), "").host_name == "kvm-03"


def test_a_preferred_host_is_a_pin(two, make_host):
    emptier = make_host(3, memory_total_bytes=64 << 30)
    two.add_host(emptier)
    two.report(emptier)
    assert pick("web-1", judged(two), "host-2").host_name == "kvm-02"


def test_a_preferred_host_that_is_refused_says_why(two, make_host):
    other = make_host(3, microcode="0x428", kernel="6.2")
    two.add_host(other)
    two.report(other)
    sentence = refusal(two, "host-3").message
    assert sentence.startswith("web-1 cannot go to kvm-03: ")
    assert "0x428" in sentence
    assert "6.2" in sentence


def test_the_source_as_preferred_host_is_refused(two):
    assert "kvm-01 is where web-1 runs" in refusal(two, "host-1").message


def test_no_target_tells_each_hosts_first_reason(two, make_host):
    other = make_host(3, microcode="0x428")
    two.add_host(other)
    two.report(other)
    two.fleet.put_policy("host-2", HostPolicy(maintenance=True))
    sentence = refusal(two).message
    assert "kvm-02 is in maintenance" in sentence
    assert "0x428 on kvm-03" in sentence
    assert "kvm-01 is where" not in sentence


def test_a_fleet_of_one_host_has_nowhere_to_go(two):
    two.fleet.put_facts("host-2", None)
    with pytest.raises(GodwitError, match="there is no other host"):
        pick("web-1", judged(two), "")


def test_a_server_that_nobody_reports_cannot_be_judged(two):
    two.fleet.drop_report("host-1", two.server.server_id)
    with pytest.raises(GodwitError, match="kvm-01 does not say now how web-1 stands"):
        judged(two)
