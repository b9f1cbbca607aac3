"""One fault, from a fleet that is whole to one that is whole again, and what was found wrong."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
import msgspec

from lab.errors import LabError
from lab.trace import DiskWatch
from lab.trials import faults
from lab.trials.faults import Fault
from lab.trials.witness import Sight, Witness, contradictions, lies
from wire.errors import GodwitError
from wire.life import Fence
from wire.rescue import Incident, IncidentState, RescueState

WHOLE_AGAIN_S = 120.0
"""The longest that a fleet may take until all is as it should be once nothing is broken."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial showed."""

    fault: str
    hosts: tuple[str, ...]
    hit: str
    """The state of the move that it was to hit, as last told before; empty if there was none."""
    held_s: float
    """How long the fault lasted."""
    whole_after_s: float
    """From the fault's end until all was as it should be."""
    wrong: tuple[str, ...]
    """One sentence for each thing that must not be; empty for a trial that went well."""
    rescued: tuple[str, ...]
    """Servers that were started on another host."""
    restarted: tuple[str, ...]
    """Servers that had to boot again."""


class Trial:
    """Tries faults on a lab whose guests leave traces."""

    def __init__(
        self,
        witness: Witness,
        watch: DiskWatch,
        servers: Sequence[str],
        stopped: Sequence[str] = (),
    ) -> None:
        self.witness = witness
        self.watch = watch
        self.servers = list(servers)
        self._stopped = list(stopped)
        """Servers that run nowhere, and are never lost."""
        self._told: set[str] = set()
        self.before = self.wait_until_whole()

    def set_policy(self, host: str, **policy: bool) -> None:
        """Change a host's policy (fields of ``HostPolicyChange``).

        Raises:
            LabError: the backend refuses.
        """
        answer = self.witness.post(f"/v1/hosts/{host}/policy", **policy)
        if answer.is_error:
            raise LabError(f"the policy of {host}: {answer.text}")

    def wait_until_fenced(self) -> None:
        """Wait until every host's card is armed, and the host says so.

        Raises:
            LabError: one is not within half a minute.
        """
        deadline = time.monotonic() + 30
        while True:
            fences = {name: view.health for name, view in self.witness.hosts().items()}
            bare = [n for n, life in fences.items() if not life or life.fence is not Fence.WATCHDOG]
            if not bare:
                return
            if time.monotonic() > deadline:
                lab = self.witness.lab
                told = (f"{n}: {fences[n]}, card {lab.card(n).condition}" for n in bare)
                raise LabError(f"not fenced: {'; '.join(told)}")
            time.sleep(0.2)

    def wait_until_whole(self) -> Sight:
        """The fleet once nothing is wrong with it.

        Raises:
            LabError: something still is after two minutes; the sentences say what.
        """
        sight, wrong = self._wait_until_whole()
        if wrong:
            raise LabError("; ".join(wrong))
        return sight

    def _wait_until_whole(self) -> tuple[Sight, list[str]]:
        deadline = time.monotonic() + WHOLE_AGAIN_S
        while True:
            sight, wrong = self.look()
            if not wrong and sight is not None:
                wrong = self._silent()
            if sight is not None and (not wrong or time.monotonic() > deadline):
                return sight, wrong
            if time.monotonic() > deadline:
                raise LabError("; ".join(wrong))
            # a card may still fire for a fault that has ended
            faults.switch_on(self.witness.lab)
            time.sleep(0.25)

    def look(self) -> tuple[Sight | None, list[str]]:
        """What is to be seen now, and what is wrong with it."""
        try:
            sight = self.witness.look()
        except (LabError, GodwitError, httpx.HTTPError, msgspec.DecodeError) as error:
            return None, [f"{type(error).__name__}: {error}"]
        return sight, contradictions(sight, self.servers, self._stopped)

    def _silent(self) -> list[str]:
        """Guests that do not write to their disks within some seconds."""
        counts = {name: self._latest_count(name) for name in self.servers}
        deadline = time.monotonic() + 5
        while silent := [name for name in counts if self._latest_count(name) == counts[name]]:
            if time.monotonic() > deadline:
                return [f"{name} does not write to its disk" for name in silent]
            time.sleep(0.05)
        return []

    def _latest_count(self, name: str) -> tuple[int, int]:
        boots = self.watch.boots(name)
        return (boots[-1].nonce, boots[-1].count) if boots else (0, 0)

    def run(
        self,
        fault: Fault,
        hosts: Sequence[str],
        hold: Callable[[], None],
        *,
        settle: Callable[[], None] = lambda: None,
    ) -> Finding:
        """Begin a fault, let it last as long as ``hold`` does, end it, and wait until all is whole.

        ``settle`` is called when it has ended.
        """
        before, before_ms = self.before, time.time_ns() // 1_000_000
        boots = {name: len(self.watch.boots(name)) for name in self.servers}
        began_s, hit = time.monotonic(), ""
        try:
            hit = fault.begin(self.witness.lab, hosts) or ""
            began_s = time.monotonic()
            hold()
            unmet = []
        except LabError as error:
            unmet = [str(error)]
        held_s = time.monotonic() - began_s
        try:
            fault.end(self.witness.lab, hosts)
        except LabError as error:
            unmet.append(str(error))
        faults.restore(self.witness.lab)
        settle()
        ended_s = time.monotonic()
        after, wrong = self._wait_until_whole()
        self._arm()
        whole_after_s = time.monotonic() - ended_s
        known = {each.incident_id for each in before.incidents}
        new = [each for each in after.incidents if each.incident_id not in known]
        wrong += [*unmet, *self._double_runs()]
        moved = self._moved_since(before_ms)
        for incident in first_of_each_host(new):
            wrong += lies(incident, before, after, self.watch, moved=moved)
        self.before = after
        return Finding(
            fault=fault.name,
            hosts=tuple(hosts),
            hit=hit,
            held_s=held_s,
            whole_after_s=whole_after_s,
            wrong=tuple(wrong),
            rescued=tuple(
                each.server_name
                for incident in new
                for each in incident.servers
                if each.state is RescueState.RESCUED
            ),
            restarted=tuple(n for n in self.servers if len(self.watch.boots(n)) > boots[n]),
        )

    def _arm(self) -> None:
        """Arm the guard again, as an operator does once a storm is over."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.witness.post("/v1/rescue/arm").is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)

    def _moved_since(self, since_ms: int) -> set[str]:
        """Servers that somebody wanted to move to another host while it lived."""
        return {
            each.server_name
            for each in self.witness.migrations()
            if each.kind != "rescue" and each.created_at_ms >= since_ms
        }

    def _double_runs(self) -> list[str]:
        """What the disks tell of two copies of one guest that ran in the same time, told once."""
        overlaps = self.watch.overlaps()
        found = [f"{name}: {each}" for name, some in overlaps.items() for each in some]
        found += [
            f"{name} found its disk written by another, {count} times by now"
            for name, count in self.watch.splits().items()
        ]
        new = [sentence for sentence in found if sentence not in self._told]
        self._told.update(new)
        return new


def first_of_each_host(incidents: Sequence[Incident]) -> list[Incident]:
    """The oldest report about each host: later ones begin from what it left."""
    first: dict[str, Incident] = {}
    for incident in sorted(incidents, key=lambda each: each.lost_at_ms):
        first.setdefault(incident.host_id, incident)
    return list(first.values())


def until_rescued(witness: Witness, hosts: Sequence[str], *, within_s: float) -> None:
    """Wait until the reports of hosts say that all that could be started elsewhere is.

    Raises:
        LabError: they do not in time; the sentence tells how far they are.
    """
    deadline = time.monotonic() + within_s
    while True:
        latest: dict[str, Incident] = {}
        with suppress(httpx.HTTPError):
            latest = {each.host_name: each for each in reversed(witness.incidents())}
        if all(host in latest and latest[host].state is IncidentState.RESCUED for host in hosts):
            return
        if time.monotonic() > deadline:
            told = "; ".join(f"{host}: {progress(latest.get(host))}" for host in hosts)
            raise LabError(f"not rescued within {within_s:.0f} s: {told}")
        time.sleep(0.1)


def progress(incident: Incident | None) -> str:
    """How far a lost host's report is, in words."""
    if incident is None:
        return "no report"
    servers = ", ".join(f"{s.server_name} {s.state} {s.reason}".rstrip() for s in incident.servers)
    held = f", {incident.held_reason}" if incident.held_reason else ""
    return f"{incident.state}{held} ({servers})"
