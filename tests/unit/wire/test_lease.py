import signal
import threading
import time

import msgspec

from wire.etcd import Answer, Etcd, Lease
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


def test_a_refresh_that_a_deposed_leader_answered_does_not_count(etcd: Etcd, monkeypatch):
    turns, refresh = Turns(), etcd.refresh_in_term
    told: list[float] = []

    def of_an_older_term(lease_id: int) -> Answer:
        answer = refresh(lease_id)
        return msgspec.structs.replace(answer, raft_term=answer.raft_term - 1)

    def put(lease: Lease, _sent_s: float) -> bool:
        etcd.put("/held", b"v", lease_id=lease.lease_id)
        return True

    key = HeldKey(
        etcd,
        "/held",
        ttl_s=2,
        put=put,
        on_refreshed=lambda sent_s, _ttl_s: told.append(sent_s),
        on_held=turns.held.set,
        on_lost=turns.lost.set,
    )
    # etcd itself keeps the lease, as the deposed leader would; nothing else makes one in a test
    monkeypatch.setattr(etcd, "refresh_in_term", of_an_older_term)
    key.start()
    assert turns.held.wait(10)
    assert turns.lost.wait(10)
    assert len(told) == 1  # of the grant
    monkeypatch.undo()
    turns.held.clear()
    assert turns.held.wait(10)
    key.stop(revoke=True)


def test_a_key_is_put_anew_under_the_lease_that_lives(etcd: Etcd):
    turns, values = Turns(), [b"second", b"first"]

    def put(lease: Lease, _sent_s: float) -> bool:
        etcd.put("/held", values.pop(), lease_id=lease.lease_id)
        return True

    key = HeldKey(etcd, "/held", ttl_s=5, put=put, on_held=turns.held.set)
    key.start()
    assert turns.held.wait(10)
    first = etcd.get("/held")
    key.renew()
    deadline = time.monotonic() + 10
    while (found := etcd.get("/held")) is not None and found.value == b"first":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert first is not None
    assert found is not None
    assert (found.value, found.lease_id) == (b"second", first.lease_id)
    key.stop(revoke=True)


def test_a_fault_of_our_own_does_not_end_the_holding(etcd: Etcd):
    held, faults = threading.Event(), [ValueError("unforeseen")]

    def put(lease: Lease, _sent_s: float) -> bool:
        if faults:
            raise faults.pop()
        etcd.put("/held", b"v", lease_id=lease.lease_id)
        return True

    key = HeldKey(etcd, "/held", ttl_s=2, put=put, on_held=held.set)
    key.start()
    assert held.wait(10)
    key.stop(revoke=True)


def test_a_wish_that_comes_while_the_value_is_put_is_not_lost(etcd):
    putting, go_on = threading.Event(), threading.Event()
    values: list[bytes] = []

    def put(lease: Lease, _sent_s: float) -> bool:
        values.append(b"%d" % len(values))
        etcd.put("/held", values[-1], lease_id=lease.lease_id)
        if len(values) == 2:
            putting.set()
            assert go_on.wait(10)
        return True

    key = HeldKey(etcd, "/held", ttl_s=30, put=put, refresh_s=0.1)
    key.start()
    try:
        deadline = time.monotonic() + 10
        while not key.held:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        key.renew()
        assert putting.wait(10)
        key.renew()
        go_on.set()
        while len(values) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        go_on.set()
        key.stop(revoke=True)
