import signal
import threading

from wire.etcd import Etcd, Lease
from wire.lease import HeldKey


class Turns:
    """Records when a key is taken and lost."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.lost = threading.Event()


def hold(etcd: Etcd, turns: Turns, *, value: bytes = b"v", only_if_absent: bool = False):
    def put(lease: Lease, _sent_s: float) -> bool:
        if only_if_absent:
            return etcd.create("/held", value, lease_id=lease.lease_id)
        etcd.put("/held", value, lease_id=lease.lease_id)
        return True

    return HeldKey(
        etcd,
        "/held",
        ttl_s=2,
        put=put,
        wait_for_absence=only_if_absent,
        on_held=turns.held.set,
        on_lost=turns.lost.set,
    )


def test_a_held_key_is_there_and_gone_when_given_up(etcd: Etcd):
    turns = Turns()
    key = hold(etcd, turns)
    key.start()
    assert turns.held.wait(10)
    found = etcd.get("/held")
    assert found is not None
    assert found.value == b"v"
    key.stop(revoke=True)
    assert etcd.get("/held") is None


def test_a_revoked_lease_is_noticed_and_the_key_put_again(etcd: Etcd):
    turns = Turns()
    key = hold(etcd, turns)
    key.start()
    assert turns.held.wait(10)
    turns.held.clear()
    found = etcd.get("/held")
    assert found is not None
    etcd.revoke_lease(found.lease_id)
    assert turns.lost.wait(10)
    assert turns.held.wait(10)
    again = etcd.get("/held")
    assert again is not None
    assert again.lease_id != found.lease_id
    key.stop(revoke=True)


def test_a_deleted_key_is_noticed_although_its_lease_lives(etcd: Etcd):
    turns = Turns()
    key = hold(etcd, turns)
    key.start()
    assert turns.held.wait(10)
    turns.held.clear()
    etcd.delete("/held")
    assert turns.lost.wait(10)
    assert turns.held.wait(10)
    assert etcd.get("/held") is not None
    key.stop(revoke=True)


def test_a_key_that_another_took_is_given_up(etcd: Etcd):
    turns = Turns()
    key = hold(etcd, turns, only_if_absent=True)
    key.start()
    assert turns.held.wait(10)
    etcd.put("/held", b"another's")
    assert turns.lost.wait(10)
    assert not key.held
    key.stop(revoke=True)
    found = etcd.get("/held")
    assert found is not None
    assert found.value == b"another's"


def test_only_one_leads_and_the_other_follows_when_it_leaves(etcd: Etcd, monkeypatch):
    first, second = Turns(), Turns()
    granted: list[int] = []
    grant = etcd.grant_lease

    def count(ttl_s: int) -> Lease:
        granted.append(ttl_s)
        return grant(ttl_s)

    monkeypatch.setattr(etcd, "grant_lease", count)
    leader = hold(etcd, first, value=b"first", only_if_absent=True)
    leader.start()
    assert first.held.wait(10)
    waiting = hold(etcd, second, value=b"second", only_if_absent=True)
    waiting.start()
    assert not second.held.wait(3)
    assert len(granted) == 1  # who waits only looks
    leader.stop(revoke=True)
    assert second.held.wait(10)
    found = etcd.get("/held")
    assert found is not None
    assert found.value == b"second"
    waiting.stop(revoke=True)


def test_a_frozen_etcd_loses_the_key_after_its_ttl(server, etcd: Etcd):
    turns = Turns()
    key = hold(etcd, turns)
    key.start()
    assert turns.held.wait(10)
    turns.held.clear()
    server.send(signal.SIGSTOP)
    assert turns.lost.wait(15)
    server.send(signal.SIGCONT)
    assert turns.held.wait(15)
    key.stop(revoke=True)
