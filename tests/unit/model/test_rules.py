"""What each rule of decision 0018 is for: without it the model finds a server twice, or nowhere.

With all rules no member of a scenario's family fails; without the rule one of them must.
"""

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from hostagent.fence import rounds
from hostagent.fence.deadline import FenceTimes, fence_times
from tests.unit.model.process import Violation
from tests.unit.model.scenarios import SCENARIOS, Moments
from tests.unit.model.world import World

TWICE = {"key_absent": "life", "guard": "rounding"}
"""Rules of which either is enough: a host that is back has written a new life, and etcd rounds what
is left of a lease down by up to the second that the guard lasts."""
MOMENTS = st.tuples(st.integers(0, 60), st.integers(0, 24))
SETTINGS = settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def fails(rule: str, moments: Moments, *, kept: bool) -> bool:
    """Play one member of a family."""
    without = {TWICE.get(rule, "")} | (set() if kept else {rule})
    backends = 2 if rule == "generation" else 1
    world = World(without=frozenset(without), backends=backends, phase=moments[0])
    world.run(moments[1])
    try:
        SCENARIOS[rule](world, moments)
        world.settle_down()
    except Violation:
        return True
    return False


def without_margin(ttl_s: float, *, watchdog_timeout_s: int) -> FenceTimes:
    return fence_times(ttl_s, watchdog_timeout_s=watchdog_timeout_s)._replace(margin_s=0.0)


@pytest.mark.parametrize("rule", SCENARIOS)
def test_without_it_a_server_runs_twice_or_never(rule: str, monkeypatch: pytest.MonkeyPatch):
    if rule == "margin":
        monkeypatch.setattr(rounds, "fence_times", without_margin)
    find(
        MOMENTS,
        lambda moments: fails(rule, moments, kept=False),
        settings=settings(SETTINGS, max_examples=120),
    )


@pytest.mark.parametrize("rule", SCENARIOS)
def test_with_it_the_same_faults_do_no_harm(rule: str):
    @settings(SETTINGS, max_examples=8)
    @given(MOMENTS)
    def play(moments: Moments) -> None:
        assert not fails(rule, moments, kept=True)

    play()
