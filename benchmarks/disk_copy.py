"""The same disk over the same link, pulled by Godwit and by ``qemu-img convert`` in turn.

    .venv/bin/python benchmarks/disk_copy.py [--pairs 5] [--write]

Makes a lab of two hosts and a stopped server with a disk of 1 GiB, 640 MiB of it data in pieces,
and copies it to the other host again and again: once by the agents (export, pull, and the digest of
what is on the disk), once by `qemu-img convert` from a `qemu-storage-daemon` with the same
certificates, followed by `sync` of the file, as the agent does. First on a link of 400 Mbit/s, then
on one without a limit. Prints each pair's wall times and the ratio of throughputs (limit 0.95), and
how many bytes cross the link for a disk of 10 GiB with 200 MiB of data; --write puts the page into
results/.
"""

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from lab.fleet import Lab
from lab.programs import AGENT_PORT, ETCD_PORT
from lab.server import ServerSpec
from lab.state import CONTROLLER, CONTROLLER_NUMBER, LinkLimit
from wire.agent import JobDetail, JobState
from wire.config import EtcdConfig, TlsFiles, read_secret
from wire.etcd import Etcd
from wire.fleet import OwnerPhase, ServerRecord
from wire.http import raise_for_error
from wire.keys import SERVERS
from wire.storage import (
    DiscardCommand,
    Export,
    ExportCommand,
    Incoming,
    PrepareCommand,
    PullCommand,
    PullFile,
    ServerStorage,
)
from wire.tls import client_context

StructT = TypeVar("StructT", bound=msgspec.Struct)

LAB = "bench-copy"
RESULT = Path(__file__).parent / "results" / "disk_copy.md"
LIMIT = 0.95
SERVER = "bench-1"
SOURCE, TARGET = "kvm-01", "kvm-02"
RATE_BITS_PER_S = 400_000_000
MIB = 1 << 20
PORT = 49390
IMAGES = "/var/lib/libvirt/images"


def write_disk(path: Path, size_mib: int, pieces: list[tuple[int, int]]) -> None:
    """Fill a disk image with data at some places: offset and length in MiB."""
    dice = random.Random(SERVER)  # noqa: S311 - the same bytes in every run
    with path.open("r+b") as image:
        image.truncate(0)
        for offset, length in pieces:
            image.seek(offset * MIB)
            for _ in range(length):
                image.write(dice.randbytes(MIB))
        image.truncate(size_mib * MIB)
    subprocess.run(["sync", path], check=True)


class Bench:
    """A lab of two hosts with one stopped server, and both ways to copy its disk."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        folder = lab.folders.operator
        tls = TlsFiles(
            ca_file=folder / "ca.pem", cert_file=folder / "cert.pem", key_file=folder / "key.pem"
        )
        controller = lab.state.address(CONTROLLER_NUMBER)
        self.etcd = Etcd(EtcdConfig(endpoints=(f"{controller}:{ETCD_PORT}",), tls=tls))
        token = read_secret(lab.folders.etc(CONTROLLER) / "godwit" / "agent.token")
        self.http = httpx.Client(
            verify=client_context(tls),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=60.0,
            trust_env=False,
        )
        lab.add_server(ServerSpec(name=SERVER, host=SOURCE, storage="local", stopped=True))
        self.server_id = lab.virsh(SOURCE, f"domuuid {SERVER}").strip()
        self.source_disk = lab.folders.local(SOURCE) / f"{SERVER}.img"

    def address(self, host: str) -> str:
        """Of a host."""
        return self.lab.state.address(self.lab.state.node(host).number)

    def ask(self, host: str, path: str, kind: type[StructT], body: object = None) -> StructT:
        """Call an agent: GET, or POST if there is a body."""
        url = f"https://{self.address(host)}:{AGENT_PORT}/v1{path}"
        content = msgspec.json.encode(body)
        answer = self.http.get(url) if body is None else self.http.post(url, content=content)
        raise_for_error(answer)
        return msgspec.json.decode(answer.content, type=kind)

    def lock(self) -> tuple[str, int]:
        """Take the server's record for a migration, as the backend does; its id and generation."""
        migration_id = uuid.uuid4().hex[:12]
        while (stored := self.etcd.get(SERVERS + self.server_id)) is None:
            time.sleep(0.2)
        record = msgspec.json.decode(stored.value, type=ServerRecord)
        owner = msgspec.structs.replace(
            record.owner, phase=OwnerPhase.MIGRATING, migration_id=migration_id
        )
        record = msgspec.structs.replace(record, owner=owner)
        self.etcd.put(stored.key, msgspec.json.encode(record))
        return migration_id, record.owner.generation

    def by_godwit(self) -> float:
        """Seconds from the call to the copy that is on the disk, with its digest."""
        migration_id, generation = self.lock()
        common = {
            "migration_id": migration_id,
            "server_id": self.server_id,
            "generation": generation,
        }
        storage = self.ask(SOURCE, f"/servers/{self.server_id}/storage", ServerStorage)
        (disk,) = storage.files
        prepare = PrepareCommand(**common, server_name=SERVER, kind="cold", files=storage.files)
        (room,) = self.ask(TARGET, "/incoming", Incoming, prepare).files
        export = self.ask(SOURCE, "/exports", Export, ExportCommand(**common, paths=(disk.path,)))
        file = PullFile(
            source_path=disk.path,
            export_name=export.names[disk.path],
            path=room.path,
            file_bytes=disk.file_bytes,
            data_bytes=disk.data_bytes,
            modified_ns=disk.modified_ns,
        )
        command = PullCommand(
            **common,
            source_host_name=SOURCE,
            source_address=self.address(SOURCE),
            port=export.port,
            files=(file,),
        )
        began = time.monotonic()
        self.ask(TARGET, "/pulls", msgspec.defstruct("Begun", []), command)
        while True:
            job = self.ask(TARGET, f"/migrations/{migration_id}", JobDetail).job
            if job.state is JobState.ENDED:
                break
            time.sleep(0.02)
        seconds = time.monotonic() - began
        if job.error:
            sys.exit(f"the copy failed: {job.error}")
        partial = self.lab.folders.local(TARGET) / f".{SERVER}.img.godwit-{migration_id}"
        subprocess.run(["cmp", self.source_disk, partial], check=True)
        discard = DiscardCommand(server_id=self.server_id, generation=generation)
        self.http.post(
            f"https://{self.address(TARGET)}:{AGENT_PORT}/v1/incoming/{migration_id}/discard",
            content=msgspec.json.encode(discard),
        ).raise_for_status()
        self.ask(SOURCE, f"/exports/{migration_id}/close", Export, {})
        return seconds

    def by_convert(self) -> float:
        """Seconds of `qemu-img convert` and `sync`."""
        copy = f"{IMAGES}/by-convert.img"
        source = (
            f"driver=nbd,server.type=inet,server.host={self.address(SOURCE)},server.port={PORT},"
            f"export=disk,tls-creds=tls,tls-hostname={SOURCE}"
        )
        tls = "tls-creds-x509,id=tls,dir=/etc/pki/qemu,endpoint=client"
        script = (
            f"qemu-img convert -n -W --target-is-zero --object {tls} --image-opts "
            f"--target-image-opts {source} driver=file,filename={copy} && sync {copy}"
        )
        self.lab.execute(TARGET, "truncate", "-s", str(self.source_disk.stat().st_size), copy)
        began = time.monotonic()
        done = self.lab.execute(TARGET, "sh", "-c", script, timeout_s=600)
        seconds = time.monotonic() - began
        if done.returncode:
            sys.exit(f"qemu-img convert failed: {done.stderr}")
        self.lab.execute(TARGET, "rm", copy)
        return seconds

    def serve(self) -> "subprocess.Popen[bytes]":
        """Open the disk for `qemu-img convert`."""
        address = self.address(SOURCE)
        server = f"addr.type=inet,addr.host={address},addr.port={PORT},tls-creds=tls"
        argv = [
            *("qemu-storage-daemon", "--object"),
            "tls-creds-x509,id=tls,dir=/etc/pki/qemu,endpoint=server,verify-peer=on",
            *("--nbd-server", server, "--blockdev"),
            f"file,node-name=disk,filename={IMAGES}/{SERVER}.img,read-only=on,locking=off",
            *(
                "--export",
                "nbd,id=disk,node-name=disk,name=disk",
                "--pidfile",
                "/run/bench-nbd.pid",
            ),
        ]
        daemon = subprocess.Popen(self.lab.exec_argv(SOURCE, argv))
        time.sleep(3)  # it has no word for being ready
        return daemon

    def received_bytes(self) -> int:
        """What the target got over its link."""
        shown = self.lab.execute(TARGET, "cat", "/sys/class/net/eth0/statistics/rx_bytes")
        return int(shown.stdout)


def measure(bench: Bench, pairs: int, link: str) -> list[tuple[float, float]]:
    """Wall seconds (godwit, convert) of each pair; which one goes first alternates."""
    measured = []
    daemon = bench.serve()
    try:
        for number in range(pairs):
            if number % 2 == 0:
                godwit, convert = bench.by_godwit(), bench.by_convert()
            else:
                convert, godwit = bench.by_convert(), bench.by_godwit()
            measured.append((godwit, convert))
            print(f"{link}, pair {number + 1}: godwit {godwit:.2f} s, convert {convert:.2f} s")
    finally:
        daemon.kill()
        bench.lab.execute(SOURCE, "sh", "-c", "kill $(cat /run/bench-nbd.pid)")
        daemon.wait()
    return measured


def ratios(measured: list[tuple[float, float]]) -> list[float]:
    """Throughput of Godwit over that of convert, sorted."""
    return sorted(convert / godwit for godwit, convert in measured)


def section(title: str, measured: list[tuple[float, float]]) -> list[str]:
    """One link's table in Markdown."""
    found = ratios(measured)
    median = f"**Median ratio of throughputs godwit/convert {statistics.median(found):.3f}**"
    return [
        f"## {title}",
        "",
        f"{median} (limit {LIMIT}), {found[0]:.3f} to {found[-1]:.3f}.",
        "",
        "| pair | godwit s | convert s | ratio |",
        "|---|---|---|---|",
        *(
            f"| {number} | {godwit:.2f} | {convert:.2f} | {convert / godwit:.3f} |"
            for number, (godwit, convert) in enumerate(measured, start=1)
        ),
        "",
    ]


def _machine() -> str:
    cores, python = os.cpu_count(), platform.python_version()
    return f"{cores} cores of {platform.machine()}, shared by both hosts, Python {python}."


def main() -> None:
    """Measure, print, and exit with 1 if a median is under the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the page into results/")
    arguments = parser.parse_args()
    lab = Lab(LAB)
    try:
        lab.up(host_count=2, server_count=0)
        lab.wait_until_ready()
        bench = Bench(lab)
        write_disk(bench.source_disk, 1024, [(64 * number, 40) for number in range(16)])
        for host in (SOURCE, TARGET):
            lab.limit_link(host, LinkLimit(rate_bits_per_s=RATE_BITS_PER_S))
        slow = measure(bench, arguments.pairs, "400 Mbit/s")
        for host in (SOURCE, TARGET):
            lab.limit_link(host, LinkLimit())
        fast = measure(bench, arguments.pairs, "no limit")
        write_disk(bench.source_disk, 10240, [(500 * number, 10) for number in range(20)])
        before = bench.received_bytes()
        seconds = bench.by_godwit()
        received = bench.received_bytes() - before
    finally:
        lab.down()
    sparse = (
        f"10 GiB with 200 MiB of data in 20 pieces: {received / MIB:.1f} MiB over the link, "
        f"{seconds:.1f} s."
    )
    page = "\n".join(
        [
            "# Copying a disk: Godwit against qemu-img convert",
            "",
            f"`.venv/bin/python benchmarks/disk_copy.py --pairs {arguments.pairs} --write`",
            "",
            "A raw disk of 1 GiB with 640 MiB of random data in 16 pieces, over NBD with TLS.",
            "Godwit's time holds the digests of both sides; convert's holds none.",
            _machine(),
            "",
            *section("Link of 400 Mbit/s", slow),
            *section("Link without a limit", fast),
            "## A sparse disk",
            "",
            sparse,
            "",
        ]
    )
    print(page)
    if arguments.write:
        RESULT.write_text(page, encoding="utf-8")
    worst = min(statistics.median(ratios(slow)), statistics.median(ratios(fast)))
    sys.exit(0 if worst >= LIMIT else 1)


if __name__ == "__main__":
    main()
