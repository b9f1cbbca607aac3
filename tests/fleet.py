"""A lab as an operator sees it: the command line, the API, and the hosts below."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from lab import hypervisor, network, programs
from lab.errors import LabError
from lab.fleet import Lab
from lab.server import MIB, ServerSpec, Workload
from lab.state import LinkLimit

GODWIT = str(Path(sys.executable).with_name("godwit"))


def eventually(check: Callable[[], Any], *, within_s: float = 30.0, what: str = "") -> Any:
    """Call until the answer is true, and return it; a failing call counts as no answer."""
    until = time.monotonic() + within_s
    while True:
        try:
            answer = check()
        except (LabError, httpx.HTTPError, subprocess.CalledProcessError) as error:
            answer, what = None, f"{what}: {error}"
        if answer:
            return answer
        assert time.monotonic() < until, f"not within {within_s} s: {what or check}"
        time.sleep(0.1)


class Fleet:
    """A lab with the command line on it; what is asked again and again goes to the API itself."""

    def __init__(
        self, lab: Lab, add_server: Callable[..., ServerSpec], client: httpx.Client
    ) -> None:
        self.lab = lab
        self._add_server = add_server
        self._client = client

    @property
    def hosts(self) -> list[str]:
        return [host.name for host in self.lab.state.hosts]

    def eventually(self, check: Callable[[], Any], *, within_s: float, what: str) -> None:
        """Wait until something holds."""
        eventually(check, within_s=within_s, what=what)

    def environment(self, role: str = "operator") -> dict[str, str]:
        return os.environ | programs.console_environment(self.lab.state, self.lab.folders, role)

    def godwit(
        self, *arguments: str, role: str = "operator", timeout_s: float = 120.0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as a process of its own."""
        return subprocess.run(
            [GODWIT, *arguments],
            env=self.environment(role) | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:
        """The JSON answer of a verb; raises CalledProcessError when it fails."""
        done = self.godwit(*arguments, "--json")
        done.check_returncode()
        return json.loads(done.stdout)

    def _get(self, path: str) -> Any:
        """The API's JSON answer; raises HTTPError when there is none."""
        # a connection that is kept may be closed by the backend just when it is used again
        answer = self._client.get(path, headers={"Connection": "close"}, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def add_server(
        self,
        host: str = "kvm-01",
        *,
        memory_mb: int = 64,
        working_set_mb: int = 4,
        dirty_mb_per_s: float = 0.0,
        **changes: Any,
    ) -> str:
        """Add a server with a name of its own, and wait until Godwit shows it; the name."""
        workload = Workload(working_set_mb=working_set_mb, dirty_mb_per_s=dirty_mb_per_s)
        if "data_mb" in changes:
            changes = {"disk_mb": changes["data_mb"] + 16, **changes}
        spec = self._add_server(host=host, memory_mb=memory_mb, workload=workload, **changes)
        name = spec.name
        self.until_status(name, "ready" if spec.stopped else "running")
        if not spec.stopped:
            eventually(lambda: self.lab.guest_report(host, name).beats, what=f"{name} beats")
        return name

    def wait_for_working_set(self, host: str, name: str) -> None:
        """Wait until a guest has walked over its whole working set once."""
        eventually(
            lambda: self.lab.guest_report(host, name).passes, within_s=60, what=f"{name}: a walk"
        )

    def show(self, name: str) -> dict[str, Any]:
        """A server as `godwit server-list --json` shows it; empty if it does not."""
        servers: list[dict[str, Any]] = self.ask("server-list")
        return next((one for one in servers if one["name"] == name), {"status": ""})

    def running_on(self, name: str) -> list[str]:
        """The hosts whose own libvirt says that they run this guest."""
        return [host for host in self.hosts if name in hypervisor.running_names(self.init(host))]

    def defined_on(self, name: str, hosts: Sequence[str] = ()) -> list[str]:
        """Those of the hosts, or of all, whose own libvirt knows this guest."""
        return [
            host
            for host in hosts or self.hosts
            if name in hypervisor.defined_names(self.init(host))
        ]

    def init(self, host: str) -> Any:
        return self.lab.init(host)

    def limit_links(self, rate: str) -> None:
        for host in self.hosts:
            limit = LinkLimit(rate_bits_per_s=network.parse_rate(rate))
            self.lab.limit_link(host, limit)

    def clear_links(self) -> None:
        for host in self.hosts:
            self.lab.limit_link(host, LinkLimit())

    def kill_program(self, node: str, program: str) -> None:
        """SIGKILL a program that a node's PID 1 supervises: hostagent, libvirtd, backend, etcd."""
        init = self.lab.init(node)
        children = Path(f"/proc/{init.pid}/task/{init.pid}/children").read_text().split()
        for pid in children:
            if program in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)
                return
        raise AssertionError(f"{node} does not run {program}")

    def migration(self, migration_id: str) -> dict[str, Any]:
        """A migration's record as it is now."""
        return dict(self._get(f"/v1/migrations/{migration_id}")["migration"])

    def migration_ids(self) -> list[str]:
        """Of all migrations, the newest first."""
        return [one["migration_id"] for one in self.ask("migration-list")]

    def received_mb_per_s(self, host: str, *, over_s: float) -> float:
        """What came over a host's link, in MiB/s: never more than it was, however late we look."""
        began_s = time.monotonic()
        received = self.lab.link_bytes(host).received_bytes
        time.sleep(over_s)
        received = self.lab.link_bytes(host).received_bytes - received
        return received / (time.monotonic() - began_s) / MIB

    def until_state(self, migration_id: str, state: str) -> None:
        """Wait until a migration is in a state; one that has ended fails the test."""

        def there() -> bool:
            record = self.migration(migration_id)
            assert record["state"] not in {"failed", "cancelled", "succeeded"}, record
            return bool(record["state"] == state)

        eventually(there, within_s=60, what=f"{migration_id} is {state}")

    def start_migration(self, name: str, target: str) -> str:
        """Begin a live migration and return its id once memory is being copied."""
        begun = self.ask("server-live-migrate", "--prefer-host", target, name)
        migration_id = str(begun["migration_id"])
        self.until_state(migration_id, "copying_memory")
        return migration_id

    def end_of(self, migration_id: str, *, within_s: float = 120.0) -> dict[str, Any]:
        """Wait for a migration's end, whatever is down meanwhile.

        Its final record as `godwit migration-show --json` tells it.
        """

        def ended() -> dict[str, Any] | None:
            if self.migration(migration_id)["state"] not in {"succeeded", "failed", "cancelled"}:
                return None
            shown: dict[str, Any] = self.ask("migration-show", migration_id)
            return dict(shown.get("migration", shown))

        return dict(eventually(ended, within_s=within_s, what=f"{migration_id} ended"))

    def until_driven_again(self, migration_id: str) -> None:
        """Wait until all that drives a migration has been heard of, and its copying goes on."""
        now_ms = time.time_ns() // 1_000_000
        detail = f"/v1/migrations/{migration_id}"
        told = eventually(lambda: len(self._get(detail)["samples"]), what="samples")

        def driven() -> bool:
            status = self._get("/v1/status")
            seen_ms = [host["seen_at_ms"] for host in self._get("/v1/hosts")]
            samples = self._get(detail)["samples"]
            alive = status["leading"] and status["etcd_ok"] and min(seen_ms) > now_ms
            return alive and len(samples) > told

        eventually(driven, within_s=60, what=f"{migration_id} driven again")

    def until_status(self, name: str, status: str) -> None:
        """Wait until a server is shown with this status word."""
        eventually(lambda: self._server(name).get("status") == status, what=f"{name} is {status}")

    def until_disks(self, name: str, count: int) -> None:
        """Wait until a server is shown with so many disks."""
        eventually(
            lambda: len(self._server(name).get("disks", ())) == count, what=f"disks of {name}"
        )

    def until_pool(self, host: str, holds: Callable[[Any], Any]) -> None:
        """Wait until a host's local pool is shown as it should be; None when it has none."""

        def shown() -> Any:
            facts = self._host(host)["facts"]
            return next((pool for pool in facts["pools"] if pool["name"] == "local"), None)

        eventually(lambda: holds(shown()), within_s=60, what=f"local pool of {host}")

    @contextmanager
    def maintenance(self, host: str) -> Iterator[None]:
        """Have a host take no servers."""
        self.godwit("host-maintenance", host).check_returncode()
        try:
            yield
        finally:
            self.godwit("host-exit-maintenance", host).check_returncode()

    def _server(self, name: str) -> dict[str, Any]:
        """A server as the API shows it; empty if it does not."""
        return next((one for one in self._get("/v1/servers") if one["name"] == name), {})

    def _host(self, name: str) -> Any:
        return next(one for one in self._get("/v1/hosts") if one["facts"]["name"] == name)

    def wait_until_healthy(self) -> None:
        """Wait until every host is online again."""
        eventually(
            lambda: all(host["status"] == "online" for host in self._get("/v1/hosts")),
            within_s=60,
            what="every host online",
        )
