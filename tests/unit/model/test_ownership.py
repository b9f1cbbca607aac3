"""The ownership protocol of decision 0018 under any faults in any order, at any step.

Random walks through :mod:`tests.unit.model.world`, which checks at each step that no server runs
twice, that a claim finds no living copy, and that a fenced host is clean when its lease runs out.
At the end of each walk all faults end, and every server has to run once, where its record says.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.unit.model import faults
from tests.unit.model.world import World

PARTIES = (*faults.HOSTS, "etcd", "backend-0", "backend-1")
hosts = st.sampled_from(faults.HOSTS)
parts = st.sampled_from(faults.PARTS)
backends = st.integers(0, 1)


class Ownership(RuleBasedStateMachine):
    """Every fault that the protocol claims to survive."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(phase=st.integers(0, 60))
    def begin(self, phase: int) -> None:
        self.world = World(phase=phase)

    def teardown(self) -> None:
        self.world.settle_down()

    @rule(ticks=st.integers(1, 30))
    def pass_time(self, ticks: int) -> None:
        faults.pass_time(self.world, ticks)

    @rule(ticks=st.integers(60, 160))
    def pass_a_lease(self, ticks: int) -> None:
        faults.pass_time(self.world, ticks)

    @rule(
        one=st.sampled_from(PARTIES),
        other=st.sampled_from(PARTIES),
        state=st.sampled_from(faults.STATES),
    )
    def set_link(self, one: str, other: str, state: str) -> None:
        faults.set_link(self.world, one, other, state)

    @rule(host=hosts, state=st.sampled_from(faults.STATES))
    def isolate(self, host: str, state: str) -> None:
        for other in PARTIES:
            faults.set_link(self.world, host, other, state)

    @rule(one=st.sampled_from(PARTIES), other=st.sampled_from(PARTIES))
    def hold(self, one: str, other: str) -> None:
        self.world.network.hold(one, other)

    @rule()
    def release(self) -> None:
        self.world.network.release()

    @rule(host=hosts, part=parts)
    def stop(self, host: str, part: str) -> None:
        faults.stop(self.world, host, part)

    @rule(host=hosts, part=parts)
    def go_on(self, host: str, part: str) -> None:
        faults.go_on(self.world, host, part)

    @rule(host=hosts, part=parts)
    def kill(self, host: str, part: str) -> None:
        faults.kill(self.world, host, part)

    @rule(host=hosts, point=st.integers(0, 6), ticks=st.integers(1, 100))
    def stall_fence(self, host: str, point: int, ticks: int) -> None:
        faults.stall_fence(self.world, host, point, ticks)

    @rule(number=backends, task=st.sampled_from(faults.TASKS), ticks=st.integers(10, 200))
    def stall_backend(self, number: int, task: str, ticks: int) -> None:
        faults.stall_backend(self.world, number, task, ticks)

    @rule(number=backends)
    def stop_backend(self, number: int) -> None:
        faults.stop_backend(self.world, number)

    @rule(number=backends)
    def kill_backend(self, number: int) -> None:
        faults.kill_backend(self.world, number)

    @rule(host=hosts)
    def power_cut(self, host: str) -> None:
        faults.power_cut(self.world, host)

    @rule(host=hosts)
    def switch_off(self, host: str) -> None:
        faults.switch_off(self.world, host)

    @rule(host=hosts)
    def switch_on(self, host: str) -> None:
        faults.switch_on(self.world, host)

    @rule(host=hosts)
    def declare_off(self, host: str) -> None:
        faults.declare_off(self.world, host)

    @rule(ticks=st.integers(5, 200))
    def etcd_away(self, ticks: int) -> None:
        faults.etcd_away(self.world, ticks)

    @rule(host=hosts)
    def depose(self, host: str) -> None:
        faults.depose(self.world, host)

    @rule(host=hosts, lease=st.booleans())
    def lose_key(self, host: str, *, lease: bool) -> None:
        faults.lose_key(self.world, host, lease=lease)

    @rule(host=hosts, rescue=st.booleans())
    def set_policy(self, host: str, *, rescue: bool) -> None:
        faults.set_policy(self.world, host, rescue=rescue)

    @rule(
        server_id=st.sampled_from(("web", "db")),
        to=hosts,
        postcopy=st.booleans(),
        ticks=st.integers(0, 40),
    )
    def migrate(self, server_id: str, to: str, *, postcopy: bool, ticks: int) -> None:
        faults.migrate(self.world, server_id, to, postcopy=postcopy)
        faults.pass_time(self.world, ticks)

    @rule()
    def unbind(self) -> None:
        faults.unbind(self.world)


TestOwnership = Ownership.TestCase
TestOwnership.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
