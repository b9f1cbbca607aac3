import asyncio
import signal
from contextlib import aclosing

import msgspec
import pytest

from wire.etcd import Condition, Etcd, EtcdUnreachable, Write
from wire.watch import Changed, Listed, Lost, Observation, watch


def test_a_key_is_put_read_listed_and_deleted(etcd: Etcd):
    assert etcd.get("/a/1") is None
    etcd.put("/a/1", b"one")
    etcd.put("/a/2", b"two")
    etcd.put("/b", b"other")
    found = etcd.get("/a/1")
    assert found is not None
    assert found.value == b"one"
    assert [item.key for item in etcd.list("/a/").items] == ["/a/1", "/a/2"]
    assert etcd.delete("/a/1")
    assert not etcd.delete("/a/1")


def test_a_key_that_is_no_text_hides_no_other(server, etcd: Etcd):
    etcd.put("/a/1", b"one")
    server.put_raw(b"/a/\xff", b"stranger")
    assert [item.key for item in etcd.list("/a/").items] == ["/a/1", "/a/\\xff"]


def test_create_takes_only_an_absent_key(etcd: Etcd):
    assert etcd.create("/k", b"first")
    assert not etcd.create("/k", b"second")
    found = etcd.get("/k")
    assert found is not None
    assert found.value == b"first"


def test_replace_and_delete_compare_the_revision(etcd: Etcd):
    etcd.put("/k", b"1")
    seen = etcd.get("/k")
    assert seen is not None
    assert etcd.replace("/k", b"2", mod_revision=seen.mod_revision)
    assert not etcd.replace("/k", b"3", mod_revision=seen.mod_revision)
    assert not etcd.delete("/k", mod_revision=seen.mod_revision)


def test_a_transaction_does_all_or_nothing(etcd: Etcd):
    etcd.put("/old", b"1")
    old = etcd.get("/old")
    assert old is not None
    conditions = [
        Condition(key="/old", mod_revision=old.mod_revision),
        Condition(key="/new", mod_revision=0),
    ]
    writes = [Write(key="/old", value=None), Write(key="/new", value=b"2")]
    assert etcd.transact(when=conditions, then=writes)
    assert etcd.get("/old") is None
    assert not etcd.transact(when=conditions, then=[Write(key="/third", value=b"3")])
    assert etcd.get("/third") is None


def test_a_lease_takes_its_key_along(etcd: Etcd):
    lease = etcd.grant_lease(5)
    etcd.put("/held", b"x", lease_id=lease.lease_id)
    held = etcd.get("/held")
    assert held is not None
    assert held.lease_id == lease.lease_id
    assert etcd.refresh_in_term(lease.lease_id).seconds_left == lease.ttl_s
    etcd.revoke_lease(lease.lease_id)
    assert etcd.get("/held") is None
    assert etcd.refresh_in_term(lease.lease_id).seconds_left == 0


def test_lives_of_leases_are_told_in_the_order_asked(etcd: Etcd):
    first, second = etcd.grant_lease(100), etcd.grant_lease(200)
    etcd.revoke_lease(first.lease_id)
    gone, living = etcd.lease_lives([first.lease_id, second.lease_id])
    assert (gone.lease_id, gone.gone) == (first.lease_id, True)
    assert (living.lease_id, living.gone, living.granted_s) == (second.lease_id, False, 200)
    assert 100 < living.left_s <= 200
    assert etcd.lease_lives([]) == ()


def test_lives_of_leases_are_not_waited_for_for_ever(server, etcd: Etcd):
    lease = etcd.grant_lease(100)
    server.send(signal.SIGSTOP)
    with pytest.raises(EtcdUnreachable):
        etcd.lease_lives([lease.lease_id] * 3)
    server.send(signal.SIGCONT)


def test_each_member_is_told_and_a_dead_one_with_its_reason(server):
    config = msgspec.structs.replace(server.config, endpoints=("127.0.0.1:1", server.endpoint))
    etcd = Etcd(config)
    dead, alive = etcd.members()
    assert (dead.endpoint, dead.version, dead.leader) == ("127.0.0.1:1", "", False)
    assert dead.error
    assert (alive.endpoint, alive.error, alive.leader) == (server.endpoint, "", True)
    assert alive.version
    assert alive.raft_term > 0
    assert alive.database_bytes > 0
    etcd.close()


def test_a_closed_connection_is_one_sentence(server):
    etcd = Etcd(server.config)
    etcd.close()
    for call in (
        lambda: etcd.get("/k"),
        lambda: etcd.put("/k", b""),
        lambda: etcd.lease_lives([1]),
        lambda: etcd.changes("/k", since_revision=1),
    ):
        with pytest.raises(EtcdUnreachable, match="this connection was closed"):
            call()


def test_a_dead_etcd_is_one_sentence(server, etcd: Etcd):
    server.kill()
    with pytest.raises(EtcdUnreachable, match=f"etcd does not answer at {server.endpoint}"):
        etcd.get("/k")


def test_a_frozen_etcd_does_not_block_for_ever(server, etcd: Etcd):
    etcd.get("/k")
    server.send(signal.SIGSTOP)
    with pytest.raises(EtcdUnreachable, match="no answer in time"):
        etcd.get("/k")
    server.send(signal.SIGCONT)


def test_reads_try_the_other_endpoints(server):
    dead_first = msgspec.structs.replace(server.config, endpoints=("127.0.0.1:1", server.endpoint))
    etcd = Etcd(dead_first)
    assert etcd.get("/k") is None
    etcd.put("/k", b"written at the endpoint that answered")
    etcd.close()


def test_a_certificate_of_another_ca_is_refused(server, make_tls):
    stranger = Etcd(msgspec.structs.replace(server.config, tls=make_tls()))
    with pytest.raises(EtcdUnreachable):
        stranger.get("/k")
    stranger.close()


async def next_of(stream, kind: type[Observation]) -> Observation:
    """The next observation of a kind; others in between are passed over."""
    async for one in stream:
        if isinstance(one, kind):
            return one
    raise AssertionError("a watch never ends")


async def test_a_watch_lists_and_then_tells_each_change(etcd: Etcd):
    await asyncio.to_thread(etcd.put, "/w/1", b"1")
    async with aclosing(watch(etcd, "/w/")) as stream:
        listed = await next_of(stream, Listed)
        assert [item.key for item in listed.listing.items] == ["/w/1"]
        await asyncio.to_thread(etcd.put, "/w/2", b"2")
        await asyncio.to_thread(etcd.put, "/elsewhere", b"no")
        await asyncio.to_thread(etcd.delete, "/w/1")
        put, deleted = await next_of(stream, Changed), await next_of(stream, Changed)
        assert (put.key, put.item.value) == ("/w/2", b"2")
        assert (deleted.key, deleted.item) == ("/w/1", None)


async def test_a_watch_comes_back_after_etcd_does(server, etcd: Etcd):
    async with aclosing(watch(etcd, "/w/")) as stream:
        await next_of(stream, Listed)
        server.kill()
        lost = await next_of(stream, Lost)
        assert server.endpoint in lost.reason
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(etcd.put, "/w/1", b"after")
        while True:
            seen = await anext(stream)
            if isinstance(seen, Listed) and seen.listing.items:
                break
            if isinstance(seen, Changed):
                break


async def test_a_watch_follows_an_etcd_that_came_back_with_less(server, etcd: Etcd):
    for number in range(9):
        await asyncio.to_thread(etcd.put, f"/w/{number}", b"before")
    async with aclosing(watch(etcd, "/w/")) as stream:
        assert len((await next_of(stream, Listed)).listing.items) == 9
        server.kill()
        await next_of(stream, Lost)
        server.wipe()
        await asyncio.to_thread(server.start)
        assert (await next_of(stream, Listed)).listing.items == ()


async def test_a_polled_watch_notices_a_frozen_etcd(server, etcd: Etcd):
    async with aclosing(watch(etcd, "/w/", poll_s=0.2)) as stream:
        await next_of(stream, Listed)
        server.send(signal.SIGSTOP)
        await next_of(stream, Lost)
        server.send(signal.SIGCONT)
        await next_of(stream, Listed)


def test_a_compacted_revision_ends_the_stream_so_that_the_prefix_is_listed_anew(server, etcd: Etcd):
    for number in range(3):
        etcd.put("/w/1", b"%d" % number)
    revision = etcd.list("/w/").revision
    server.compact(revision)
    with pytest.raises(EtcdUnreachable, match="compacted"):
        list(etcd.changes("/w/", since_revision=1))
