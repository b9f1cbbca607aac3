"""A cold move step by step, each as the backend asks for it, straight from both agents."""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from lab.fleet import Lab
from wire.agent import GuestTruth, Job, JobCommand, JobState
from wire.fleet import OwnerPhase
from wire.storage import (
    DefineCommand,
    DiscardCommand,
    Discarded,
    Export,
    ExportCommand,
    Incoming,
    PrepareCommand,
    PullCommand,
    PullFile,
    ReleaseCommand,
    ServerStorage,
)

MIB = 1 << 20


class ColdMove:
    """One migration of a stopped server between two hosts."""

    def __init__(
        self, lab, agents, hold, name, server_id, *, source="kvm-01", target="kvm-02"
    ) -> None:
        self.lab, self.hold = lab, hold
        self.name, self.server_id = name, server_id
        self.source_name, self.target_name = source, target
        self.source, self.target = agents(source), agents(target)
        self.target_host_id = self.target.snapshot().facts.host_id
        self.storage = self.source.get(f"/v1/servers/{server_id}/storage", ServerStorage)
        self.begin()

    def begin(self) -> None:
        """Lock the server's record, as the backend's first transaction does."""
        self.id = uuid.uuid4().hex[:12]
        record = self.hold(
            self.server_id,
            phase=OwnerPhase.MIGRATING,
            target_host_id=self.target_host_id,
            migration_id=self.id,
        )
        self.generation = record.owner.generation

    def prepare(self, kind="cold") -> Incoming:
        files = tuple(one for one in self.storage.files if not one.shared)
        command = PrepareCommand(
            migration_id=self.id,
            server_id=self.server_id,
            server_name=self.name,
            generation=self.generation,
            kind=kind,
            files=files,
        )
        return self.target.post("/v1/incoming", command, Incoming)

    def export(self) -> Export:
        command = ExportCommand(
            migration_id=self.id,
            server_id=self.server_id,
            generation=self.generation,
            paths=tuple(one.path for one in self.storage.files if not one.shared),
        )
        return self.source.post("/v1/exports", command, Export)

    def exported(self) -> Export:
        return self.source.get(f"/v1/exports/{self.id}", Export)

    def pull(self, incoming, export, *, cap=None, without=()) -> Job:
        facts = self.source.snapshot().facts
        there = {one.source_path: one.path for one in incoming.files}
        command = PullCommand(
            migration_id=self.id,
            server_id=self.server_id,
            generation=self.generation,
            source_host_name=facts.name,
            source_address=facts.address,
            port=export.port,
            files=tuple(
                PullFile(
                    source_path=one.path,
                    export_name=export.names[one.path],
                    path=there[one.path],
                    file_bytes=one.file_bytes,
                    data_bytes=one.data_bytes,
                    modified_ns=one.modified_ns,
                )
                for one in self.storage.files
                if one.path in there and one.path not in without
            ),
            max_bandwidth_bytes_per_s=cap,
        )
        return self.target.post("/v1/pulls", command, Job)

    def job(self) -> Job:
        return self.target.detail(self.id).job

    def ended(self, within_s=60.0) -> Job:
        until = time.monotonic() + within_s
        while True:
            assert time.monotonic() < until, f"the copy does not end: {self.target.detail(self.id)}"
            try:
                job = self.job()
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            if job.state is JobState.ENDED:
                return job
            time.sleep(0.05)

    def copied_bytes(self) -> int:
        samples = self.target.detail(self.id).samples
        if not samples:
            return 0
        return samples[-1].disk_total_bytes - samples[-1].disk_remaining_bytes

    def copy(self, **options: object) -> Job:
        """Prepare, open and pull to the end."""
        incoming = self.prepare()
        self.pull(incoming, self.export(), **options)
        return self.ended()

    def cancel(self) -> Job:
        command = JobCommand(server_id=self.server_id, generation=self.generation)
        return self.target.post(f"/v1/migrations/{self.id}/cancel", command, Job)

    def close(self) -> Export:
        return self.source.post(f"/v1/exports/{self.id}/close", {}, Export)

    def define(self) -> GuestTruth:
        command = DefineCommand(
            server_id=self.server_id,
            generation=self.generation,
            definition=self.storage.definition,
            snapshots=self.storage.snapshots,
        )
        return self.target.post(f"/v1/incoming/{self.id}/define", command, GuestTruth)

    def hand_over(self) -> None:
        """Give the record to the target, as the backend's last transaction does."""
        self.generation += 1
        self.hold(
            self.server_id,
            host_id=self.target_host_id,
            generation=self.generation,
            phase=OwnerPhase.SETTLED,
            target_host_id="",
            migration_id="",
        )

    def give_up(self) -> None:
        """Leave the record with the source."""
        self.hold(self.server_id, phase=OwnerPhase.SETTLED, target_host_id="", migration_id="")

    def complete(self) -> None:
        self.target.http.post(f"/v1/incoming/{self.id}/complete").raise_for_status()

    def release(self, paths=None) -> GuestTruth:
        if paths is None:
            paths = [one.path for one in self.storage.files if one.owned and not one.shared]
        command = ReleaseCommand(
            migration_id=self.id, generation=self.generation, paths=tuple(paths)
        )
        return self.source.post(f"/v1/servers/{self.server_id}/release", command, GuestTruth)

    def discard(self, **fields: object) -> Discarded:
        command = DiscardCommand(server_id=self.server_id, generation=self.generation, **fields)
        return self.target.post(f"/v1/incoming/{self.id}/discard", command, Discarded)

    def on(self, host: str, path: str) -> Path:
        """A file of a host, as this machine sees it."""
        node = self.lab.folders.node(host)
        return node / "libvirt" / Path(path).relative_to("/var/lib/libvirt")

    def here(self, path: str) -> Path:
        return self.on(self.source_name, path)

    def there(self, path: str) -> Path:
        return self.on(self.target_name, path)

    def left_there(self) -> set[str]:
        """What lies in the target's local pool."""
        return {one.name for one in self.lab.folders.local(self.target_name).iterdir()}


@pytest.fixture
def local_disk(lab: Lab) -> Callable[..., Path]:
    """Give a stopped local server's disk data at some places: offset and length in MiB."""

    def write(name: str, size_mib: int, *pieces: tuple[int, int], host: str = "kvm-01") -> Path:
        path = lab.folders.local(host) / f"{name}.img"
        dice = random.Random(name)  # noqa: S311 - the same bytes in every run
        with path.open("r+b") as image:
            for offset, length in pieces:
                image.seek(offset * MIB)
                for _ in range(length):
                    image.write(dice.randbytes(MIB))
            image.truncate(size_mib * MIB)
        return path

    return write


@pytest.fixture
def cold_move(lab, agents, hold, new_server, local_disk) -> Iterator[Callable[..., ColdMove]]:
    """Make a stopped server on kvm-01's local storage, and begin to move it to kvm-02."""

    def make(size_mib: int = 32, *pieces: tuple[int, int]) -> ColdMove:
        spec, server_id = new_server(storage="local", stopped=True)
        if pieces:
            local_disk(spec.name, size_mib, *pieces)
        return ColdMove(lab, agents, hold, spec.name, server_id)

    yield make
    for host in lab.state.hosts:
        for path in lab.folders.local(host.name).iterdir():
            path.unlink()


@pytest.fixture
def received_bytes(lab: Lab) -> Callable[[str], int]:
    """What a host has received over its link."""

    def count(host: str) -> int:
        shown = lab.execute(host, "cat", "/sys/class/net/eth0/statistics/rx_bytes").stdout
        return int(shown)

    return count


@pytest.fixture
def export_daemons(lab: Lab) -> Callable[[str], list[int]]:
    """Storage daemons on a host, by their number there."""

    def find(host: str) -> list[int]:
        shown = lab.execute(host, "pgrep", "-x", "qemu-storage-da").stdout
        return [int(word) for word in shown.split()]

    return find


@pytest.fixture
def encoded() -> Callable[[msgspec.Struct], bytes]:
    return msgspec.json.encode
