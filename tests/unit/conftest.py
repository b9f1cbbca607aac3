"""A real etcd on loopback, with TLS as everywhere."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.certificates import issue, new_authority, write_key_pair
from wire.config import EtcdConfig, TlsFiles
from wire.etcd import Etcd, EtcdUnreachable


def hold_free_port() -> socket.socket:
    """A port that nobody else is given while this socket is open, and that a server can take."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def number_of(held: socket.socket) -> int:
    return int(held.getsockname()[1])


@pytest.fixture(scope="session")
def make_tls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], TlsFiles]:
    """Each call makes another CA with one certificate for localhost."""

    def make() -> TlsFiles:
        folder = tmp_path_factory.mktemp("tls")
        authority = new_authority("test")
        (folder / "ca.pem").write_bytes(authority.certificate)
        pair = issue(authority, "localhost", address="127.0.0.1")
        files = TlsFiles(
            ca_file=folder / "ca.pem",
            cert_file=folder / "cert.pem",
            key_file=folder / "key.pem",
        )
        write_key_pair(pair, cert_file=files.cert_file, key_file=files.key_file)
        return files

    return make


@pytest.fixture(scope="session")
def tls(make_tls: Callable[[], TlsFiles]) -> TlsFiles:
    return make_tls()


class EtcdServer:
    """One etcd process that can be frozen, killed and started again with its data."""

    def __init__(self, folder: Path, tls: TlsFiles, name: str = "default") -> None:
        self._folder = folder
        self._name = name
        self._tls = tls
        self._held = (hold_free_port(), hold_free_port())
        self._port, self._peer_port = map(number_of, self._held)
        self._process: subprocess.Popen[bytes] | None = None
        self.peer = f"http://127.0.0.1:{self._peer_port}"
        self.cluster = f"{name}={self.peer}"
        """Members that elect a leader together."""
        # alone, it need not wait a second for the votes of others
        self.pace = ("--heartbeat-interval", "20", "--election-timeout", "100")
        self.endpoint = f"127.0.0.1:{self._port}"
        self.config = EtcdConfig(endpoints=(self.endpoint,), tls=tls, timeout_s=1.0)

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        url, peer = f"https://{self.endpoint}", self.peer
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("etcd", "--name", self._name, "--data-dir", str(self._folder / "data")),
                    *("--listen-client-urls", url, "--advertise-client-urls", url),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", self.cluster, *self.pace),
                    *("--client-cert-auth", "--trusted-ca-file", str(self._tls.ca_file)),
                    *("--cert-file", str(self._tls.cert_file)),
                    *("--key-file", str(self._tls.key_file)),
                ],
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        connection = Etcd(self.config)
        until = time.monotonic() + 30
        while True:
            try:
                connection.get("/ready")
                break
            except EtcdUnreachable:
                assert time.monotonic() < until, (self._folder / "log").read_text()
                time.sleep(0.05)
        connection.close()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        tasks = Path(f"/proc/{self._process.pid}/task")
        # a thread may still answer until the signal has reached it
        while number is signal.SIGSTOP and any(
            task.read_text().rpartition(") ")[2][0] not in "Tt" for task in tasks.glob("*/stat")
        ):
            time.sleep(0.01)

    def compact(self, revision: int) -> None:
        tls = self._tls
        subprocess.run(
            [
                *("etcdctl", "--endpoints", f"https://{self.endpoint}"),
                *("--cacert", tls.ca_file, "--cert", tls.cert_file, "--key", tls.key_file),
                *("compact", str(revision)),
            ],
            env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def put_raw(self, key: bytes, value: bytes) -> None:
        """Put a key as bytes, as a program of somebody else might."""
        import etcd3  # after wire.etcd, which prepares protobuf for it

        tls = self._tls
        client = etcd3.client(
            host="127.0.0.1",
            port=self._port,
            ca_cert=str(tls.ca_file),
            cert_cert=str(tls.cert_file),
            cert_key=str(tls.key_file),
            timeout=5,
        )
        client.put(key, value)
        client.close()

    def wipe(self) -> None:
        """Lose all data of an etcd that was killed."""
        shutil.rmtree(self._folder / "data")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def give_up(self) -> None:
        """Kill it for good, and give back the 125 MB that its log takes from the start."""
        self.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        for held in self._held:
            held.close()


class EtcdCluster:
    """Three members; each can be frozen and killed."""

    def __init__(self, folder: Path, tls: TlsFiles) -> None:
        self.members: list[EtcdServer] = []
        for name in ("one", "two", "three"):
            (folder / name).mkdir()
            self.members.append(EtcdServer(folder / name, tls, name))
        together = ",".join(member.cluster for member in self.members)
        for member in self.members:
            member.cluster = together
            member.pace = ("--heartbeat-interval", "100", "--election-timeout", "1000")
        endpoints = tuple(member.endpoint for member in self.members)
        self.config = EtcdConfig(endpoints=endpoints, tls=tls, timeout_s=1.0)

    def start(self) -> None:
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait()

    def roles(self) -> tuple[EtcdServer, list[EtcdServer]]:
        """The leader, and the others."""
        connection = Etcd(self.config)
        try:
            while True:
                leads = [one.leader for one in connection.members()]
                if leads.count(True) == 1:
                    break
                time.sleep(0.1)
        finally:
            connection.close()
        leader = self.members[leads.index(True)]
        return leader, [member for member in self.members if member is not leader]


@pytest.fixture
def cluster(tmp_path: Path, tls: TlsFiles) -> Iterator[EtcdCluster]:
    running = EtcdCluster(tmp_path, tls)
    running.start()
    yield running
    for member in running.members:
        member.give_up()


@pytest.fixture
def server(tmp_path: Path, tls: TlsFiles) -> Iterator[EtcdServer]:
    running = EtcdServer(tmp_path, tls)
    running.start()
    yield running
    running.give_up()


@pytest.fixture
def etcd(server: EtcdServer) -> Iterator[Etcd]:
    connection = Etcd(server.config)
    yield connection
    connection.close()


@pytest.fixture
def port() -> Iterator[int]:
    with hold_free_port() as held:
        yield number_of(held)
