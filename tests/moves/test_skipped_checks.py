"""The options that lift a check: what they let through, and what they say that it risks."""

import json
from typing import Any

import pytest

from lab.differences import MISSING_FEATURE

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(200),
    pytest.mark.xdist_group("skipped checks"),  # one lab of six hosts is enough
]

SOURCE, TARGET = "kvm-01", "kvm-02"
OTHER_MICROCODE, OTHER_KERNEL, FEWER_FEATURES = "kvm-03", "kvm-05", "kvm-06"


def moved(fleet: Any, *arguments: str) -> dict[str, Any]:
    """Move a server live with ``--wait``, which must succeed; the final record."""
    done = fleet.godwit("server-live-migrate", "--wait", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def refused(fleet: Any, *arguments: str) -> str:
    """The sentences of a move that is refused."""
    done = fleet.godwit("server-live-migrate", *arguments)
    assert done.returncode == 1, done
    return str(done.stderr)


def test_skip_cpu_check_lets_another_microcode_through_and_calls_it_safe(six_hosts: Any):
    name = six_hosts.add_server(SOURCE)
    assert "microcode" in refused(six_hosts, "--prefer-host", OTHER_MICROCODE, name)
    record = moved(six_hosts, "--skip-cpu-check", "--prefer-host", OTHER_MICROCODE, name)
    assert six_hosts.running_on(name) == [OTHER_MICROCODE]
    assert ("safe" in record["safe"], record["risk"]) == (True, ""), record


def test_skip_cpu_check_names_the_features_that_the_guest_would_lose(six_hosts: Any):
    name = six_hosts.add_server(SOURCE, cpu_feature=MISSING_FEATURE)
    assert MISSING_FEATURE in refused(six_hosts, "--prefer-host", FEWER_FEATURES, name)
    asked = ["--live-migrate", "--skip-cpu-check", "--prefer-host", FEWER_FEATURES, name]
    (candidate,) = six_hosts.ask("server-migrate-forecast", *asked)
    assert MISSING_FEATURE in candidate["risk"]
    verdict = next(one for one in candidate["verdicts"] if one["filter"] == "cpu_features")
    assert verdict["passed"]
    assert verdict["skipped"]
    begun = six_hosts.ask("server-live-migrate", *asked[1:])
    assert MISSING_FEATURE in six_hosts.end_of(begun["migration_id"])["risk"]


def test_skip_kernel_check_lets_another_kernel_through(six_hosts: Any):
    name = six_hosts.add_server(SOURCE)
    assert "kernel" in refused(six_hosts, "--prefer-host", OTHER_KERNEL, name)
    assert "kernel" in refused(six_hosts, "--skip-cpu-check", "--prefer-host", OTHER_KERNEL, name)
    record = moved(six_hosts, "--skip-kernel-check", "--prefer-host", OTHER_KERNEL, name)
    assert six_hosts.running_on(name) == [OTHER_KERNEL]
    assert "kernel" in record["risk"]
