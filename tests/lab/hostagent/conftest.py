"""Speaking to the agents of a lab as the backend does: with certificate and token."""

import gc
import hashlib
import itertools
import json
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import httpx_sse
import msgspec
import pytest

from lab.certificates import issue, new_authority, write_key_pair
from lab.fleet import Lab
from lab.programs import AGENT_PORT, ETCD_PORT
from lab.server import ServerSpec
from lab.state import CONTROLLER, CONTROLLER_NUMBER
from wire.agent import AGENT_EVENTS, AgentSnapshot, GuestTruth, Job, JobDetail, JobState
from wire.config import EtcdConfig, TlsFiles, read_secret
from wire.errors import GodwitError
from wire.etcd import Etcd
from wire.fleet import OwnerPhase, PowerState, ServerRecord
from wire.http import raise_for_error
from wire.keys import SERVERS
from wire.migration import MigrationOptions
from wire.storage import FileRole, IncomingFile
from wire.tls import client_context

StructT = TypeVar("StructT", bound=msgspec.Struct)

_MIB = 1 << 20
_IMAGES = "/var/lib/libvirt/images"
_GUESTS_MIB = 4
"""What the guest of the lab writes to a disk lies before this."""


def eventually(found: Callable[[], object], what: str, *, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not found():
        assert time.monotonic() < until, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until something is so."""
    return eventually


@pytest.fixture
def tls(lab: Lab) -> TlsFiles:
    folder = lab.folders.operator
    return TlsFiles(
        ca_file=folder / "ca.pem", cert_file=folder / "cert.pem", key_file=folder / "key.pem"
    )


@pytest.fixture
def etcd(lab: Lab, tls: TlsFiles) -> Iterator[Etcd]:
    address = lab.state.address(CONTROLLER_NUMBER)
    connection = Etcd(EtcdConfig(endpoints=(f"{address}:{ETCD_PORT}",), tls=tls))
    yield connection
    connection.close()


class AgentCaller:
    """One host's agent over HTTPS; refusals are raised as GodwitError."""

    def __init__(self, url: str, tls: TlsFiles, token: str) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url,
            verify=client_context(tls),
            headers={"Authorization": f"Bearer {token}"},
            timeout=15.0,
            trust_env=False,
        )

    def get(self, path: str, kind: type[StructT]) -> StructT:
        return self._answer(self.http.get(path), kind)

    def post(self, path: str, body: object, kind: type[StructT]) -> StructT:
        content = msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        return self._answer(self.http.post(path, content=content, headers=headers), kind)

    def _answer(self, response: httpx.Response, kind: type[StructT]) -> StructT:
        raise_for_error(response)
        return msgspec.json.decode(response.content, type=kind)

    def snapshot(self) -> AgentSnapshot:
        return self.get("/v1/snapshot", AgentSnapshot)

    def truth(self, server_id: str) -> GuestTruth:
        return self.get(f"/v1/servers/{server_id}", GuestTruth)

    def truth_at_last(self, server_id: str) -> GuestTruth:
        """The same, also where libvirtd has only just been started again."""
        found: list[GuestTruth] = []

        def told() -> bool:
            with suppress(GodwitError, httpx.HTTPError):
                found.append(self.truth(server_id))
            return bool(found)

        eventually(told, f"libvirt tells of {server_id}")
        return found[0]

    def detail(self, migration_id: str) -> JobDetail:
        return self.get(f"/v1/migrations/{migration_id}", JobDetail)

    def answers(self) -> bool:
        """Whether the agent is up and has read its host."""
        with warnings.catch_warnings():
            # Python's ssl leaves a socket open that is reset before its handshake
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                self.snapshot()
            except Exception:  # noqa: BLE001 - refused, broken, not ready: all the same here
                gc.collect()
                return False
        return True


class Listener:
    """Collects an agent's event stream in a thread."""

    def __init__(self, caller: AgentCaller) -> None:
        self._http = caller.http
        self.events: list[msgspec.Struct] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._stopped = False
        self._thread.start()

    def _listen(self) -> None:
        with httpx_sse.connect_sse(self._http, "GET", "/v1/events") as source:
            for event in source.iter_sse():
                if self._stopped:
                    return
                kind = AGENT_EVENTS[event.event]
                self.events.append(msgspec.json.decode(event.data, type=kind))

    def of(self, kind: type[StructT]) -> list[StructT]:
        return [event for event in self.events if isinstance(event, kind)]

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(timeout=10)  # meters come each 2 s


@pytest.fixture
def agents(lab: Lab, tls: TlsFiles) -> Iterator[Callable[[str], AgentCaller]]:
    """The agent of a host by the host's name, ready to answer."""
    token = read_secret(lab.folders.etc(CONTROLLER) / "godwit" / "agent.token")
    made: list[AgentCaller] = []

    def make(host: str) -> AgentCaller:
        address = lab.state.address(lab.state.node(host).number)
        caller = AgentCaller(f"https://{address}:{AGENT_PORT}", tls, token)
        made.append(caller)
        eventually(caller.answers, f"the agent of {host} answers")
        return caller

    yield make
    for caller in made:
        caller.http.close()


@pytest.fixture
def listen() -> Iterator[Callable[[AgentCaller], Listener]]:
    made: list[Listener] = []

    def make(caller: AgentCaller) -> Listener:
        listener = Listener(caller)
        made.append(listener)
        eventually(lambda: listener.events, "the stream begins")
        return listener

    yield make
    for listener in made:
        listener.stop()


@pytest.fixture
def record_of(etcd: Etcd) -> Callable[[str], ServerRecord | None]:
    def read(server_id: str) -> ServerRecord | None:
        stored = etcd.get(SERVERS + server_id)
        return None if stored is None else msgspec.json.decode(stored.value, type=ServerRecord)

    return read


@pytest.fixture
def hold(etcd: Etcd) -> Callable[..., ServerRecord | None]:
    """Change a server's owner as the backend does, by compare-and-swap."""

    def change(server_id: str, **fields: object) -> ServerRecord | None:
        while True:
            stored = etcd.get(SERVERS + server_id)
            if stored is None:
                return None
            record = msgspec.json.decode(stored.value, type=ServerRecord)
            owner = msgspec.structs.replace(record.owner, **fields)
            record = msgspec.structs.replace(record, owner=owner)
            value = msgspec.json.encode(record)
            if etcd.replace(stored.key, value, mod_revision=stored.mod_revision):
                return record

    return change


@pytest.fixture
def new_server(
    add_server: Callable[..., ServerSpec],
    lab: Lab,
    agents: Callable[[str], AgentCaller],
    record_of: Callable[[str], ServerRecord | None],
    hold: Callable[..., ServerRecord | None],
) -> Iterator[Callable[..., tuple[ServerSpec, str]]]:
    """Add a server and wait until its agent has written its record; its spec and id.

    At the end the record names the host that has the server, whatever a test made of it.
    """
    made: list[str] = []

    def make(**fields: object) -> tuple[ServerSpec, str]:
        spec = add_server(**fields)
        server_id = lab.virsh(spec.host, f"domuuid {spec.name}").strip()
        made.append(server_id)
        eventually(lambda: record_of(server_id), f"{spec.name} has a record")
        return spec, server_id

    yield make
    settled = {"phase": OwnerPhase.SETTLED, "target_host_id": "", "migration_id": ""}
    for server_id, host in itertools.product(made, lab.state.hosts):
        agent = agents(host.name)
        if agent.truth_at_last(server_id).state is not PowerState.ABSENT:
            hold(server_id, host_id=agent.snapshot().facts.host_id, **settled)


@pytest.fixture
def command(
    lab: Lab, agents: Callable[[str], AgentCaller], hold: Callable[..., ServerRecord | None]
) -> Callable[..., dict[str, object]]:
    """Take the server's record for a migration, and make the command that begins it."""

    def make(
        server_id: str,
        target: str,
        *,
        disks: tuple[IncomingFile, ...] = (),
        postcopy: bool = False,
        **options: object,
    ) -> dict[str, object]:
        migration_id = uuid.uuid4().hex[:12]
        facts = agents(target).snapshot().facts
        record = hold(
            server_id,
            phase=OwnerPhase.MIGRATING,
            target_host_id=facts.host_id,
            migration_id=migration_id,
        )
        assert record is not None
        return {
            "migration_id": migration_id,
            "server_id": server_id,
            "generation": record.owner.generation,
            "target_host_id": facts.host_id,
            "target_host_name": facts.name,
            "target_libvirt_uri": f"qemu+tls://{facts.name}/system",
            "target_address": facts.address,
            "options": MigrationOptions(**options),  # type: ignore[arg-type]
            "disks": disks,
            "postcopy": postcopy,
        }

    return make


@pytest.fixture
def ended() -> Callable[[AgentCaller, object], JobDetail]:
    """Wait for a job's end."""

    def wait(caller: AgentCaller, migration_id: object) -> JobDetail:
        last: list[JobDetail] = []

        def found() -> bool:
            try:
                last.append(caller.detail(str(migration_id)))
            except httpx.HTTPError:
                return False  # the agent is starting again
            return last[-1].job.state is JobState.ENDED

        eventually(found, f"{migration_id} ends", within_s=120)
        return last[-1]

    return wait


@pytest.fixture
def copying() -> Callable[[AgentCaller, object], Job]:
    """Wait until a job's passes have begun."""

    def wait(caller: AgentCaller, migration_id: object) -> Job:
        def found() -> bool:
            return caller.detail(str(migration_id)).job.state is JobState.COPYING_MEMORY

        eventually(found, f"{migration_id} copies memory")
        return caller.detail(str(migration_id)).job

    return wait


@pytest.fixture
def runs_once(agents: Callable[[str], AgentCaller]) -> Callable[..., None]:
    """Check that a server runs on one host, and is not even known to the other."""

    def check(server_id: str, *, on: str, not_on: str) -> None:
        def so() -> bool:
            there = agents(on).truth(server_id)
            return there.state is PowerState.RUNNING and not there.job_active

        eventually(so, f"{server_id} runs on {on}")
        eventually(
            lambda: agents(not_on).truth(server_id).state is PowerState.ABSENT,
            f"{server_id} is gone from {not_on}",
        )

    return check


@pytest.fixture
def filled(lab: Lab) -> Callable[[str], str]:
    """Fill a server's local disk with what can be found again; its digest."""

    def fill(server: str) -> str:
        path = lab.folders.local("kvm-01") / f"{server}-data.img"
        with path.open("r+b") as image:
            size = image.seek(0, 2)
            image.seek(_GUESTS_MIB * _MIB)
            for number in range(_GUESTS_MIB, size // _MIB):
                image.write(hashlib.sha256(b"%d" % number).digest() * (_MIB // 32))
        return digest_of(path)

    return fill


def digest_of(path: Path) -> str:
    with path.open("rb") as image:
        image.seek(_GUESTS_MIB * _MIB)
        return hashlib.sha256(image.read()).hexdigest()


@pytest.fixture
def room(lab: Lab) -> Iterator[Callable[..., IncomingFile]]:
    """Make an empty image on kvm-02, as its agent does for what is to come."""
    made: list[Path] = []

    def make(server: str, *, source: str = "", image_format: str = "raw") -> IncomingFile:
        name = f"{server}-arrived.{image_format}"
        folder = lab.folders.local("kvm-02")
        size = (lab.folders.local("kvm-01") / f"{server}-data.img").stat().st_size
        create = ["qemu-img", "create", "-q", "-f", image_format, f"{_IMAGES}/{name}", str(size)]
        assert lab.execute("kvm-02", *create).returncode == 0
        made.append(folder / name)
        return IncomingFile(
            source_path=source or f"{_IMAGES}/{server}-data.img",
            path=f"{_IMAGES}/{name}",
            role=FileRole.DISK,
            disk_target="hdb",
            format=image_format,
        )

    yield make
    for path in made:
        path.unlink(missing_ok=True)


@pytest.fixture
def data_digest() -> Callable[[Path], str]:
    """Digest of a disk's part that the guest does not write."""
    return digest_of


@pytest.fixture
def monitor(lab: Lab) -> Callable[..., object]:
    """Ask a guest's QEMU, as an observer: what it returns to a command without arguments."""

    def ask(host: str, server: str, command: str) -> object:
        asked = json.dumps({"execute": command})
        return json.loads(lab.virsh(host, f"qemu-monitor-command {server} '{asked}'"))["return"]

    return ask


class Sent:
    """What a host has sent since a moment."""

    total = 0
    seconds = 0.0


@pytest.fixture
def sent_bytes(lab: Lab) -> Callable[[str], AbstractContextManager[Sent]]:
    """Count the bytes that leave a host while something is done."""

    @contextmanager
    def count(host: str) -> Iterator[Sent]:
        port = lab.state.port(lab.state.node(host).number)
        counter = Path(f"/sys/class/net/{port}/statistics/rx_bytes")
        sent, before, began = Sent(), int(counter.read_text()), time.monotonic()
        yield sent
        sent.total, sent.seconds = int(counter.read_text()) - before, time.monotonic() - began

    return count


@pytest.fixture
def foreign_certificates(lab: Lab) -> Callable[[str], AbstractContextManager[None]]:
    """Let a host's QEMU show certificates of an authority that nobody knows."""

    @contextmanager
    def exchange(host: str) -> Iterator[None]:
        folder = lab.folders.etc(host) / "pki" / "qemu"
        own = {path: path.read_bytes() for path in folder.iterdir()}
        authority = new_authority("somebody else")
        address = lab.state.address(lab.state.node(host).number)
        pair = issue(authority, host, address=address)
        (folder / "ca-cert.pem").write_bytes(authority.certificate)
        for side in ("server", "client"):
            write_key_pair(
                pair,
                cert_file=folder / f"{side}-cert.pem",
                key_file=folder / f"{side}-key.pem",
            )
        try:
            yield
        finally:
            for path, content in own.items():
                path.write_bytes(content)

    return exchange
