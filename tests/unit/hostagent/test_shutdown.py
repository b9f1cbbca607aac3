"""What a host says when it is shut down, and takes back when it is not; on a real etcd."""

import signal
from types import SimpleNamespace

import msgspec

from hostagent import shutdown
from hostagent.fence.word import WORD, Word, boot_id, write
from hostagent.shutdown import mark, shut_down_host, take_back
from wire.fleet import HostPolicy, Owner, ServerRecord
from wire.keys import POLICIES, SERVERS, SHUTDOWNS
from wire.life import HostShutdown

KEY = SHUTDOWNS + "host-1"


def announce(etcd, boot: str) -> None:
    word = HostShutdown(boot_id=boot, asked_at_ms=1, within_s=300)
    etcd.put(KEY, msgspec.json.encode(word))


def test_a_shutdown_that_does_not_come_is_taken_back(etcd, tmp_path):
    announce(etcd, boot_id())
    mark(tmp_path).touch()
    take_back(etcd, tmp_path, "host-1")
    assert etcd.get(KEY) is not None
    mark(tmp_path).unlink()
    take_back(etcd, tmp_path, "host-1")
    assert etcd.get(KEY) is None
    take_back(etcd, tmp_path, "host-1")


def test_the_word_of_an_earlier_start_is_left_for_the_report(etcd, tmp_path):
    announce(etcd, "another")
    take_back(etcd, tmp_path, "host-1")
    assert etcd.get(KEY) is not None


def test_the_wait_outlives_an_etcd_that_is_away_for_a_moment(etcd, server, tmp_path, monkeypatch):
    word = Word(boot_id(), "host-1", epoch=1, armed=False, t_ok_s=1.0, ttl_s=10)
    write(tmp_path / WORD, word)
    policy = HostPolicy(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True)
    etcd.put(POLICIES + "host-1", msgspec.json.encode(policy))
    record = ServerRecord(
        server_id="s1",
        name="web-1",
        vcpu_count=1,
        memory_bytes=1,
        disks=(),
        owner=Owner(host_id="host-1", epoch=1, generation=1),
        wanted_on=True,
    )
    etcd.put(SERVERS + "s1", msgspec.json.encode(record))
    guests, said = [SimpleNamespace(server_id="s1")], []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("waiting"):
            server.send(signal.SIGSTOP)
        elif line.startswith("the wait goes on"):
            server.send(signal.SIGCONT)
            guests.clear()

    monkeypatch.setattr(shutdown, "find_guests", lambda: tuple(guests))
    config = SimpleNamespace(run_dir=tmp_path)
    shut_down_host(config, etcd, within_s=60, say=say)  # type: ignore[arg-type]
    assert "'web-1' has left" in said
    assert said[-1] == "stays and is shut down with this host: no server runs"
