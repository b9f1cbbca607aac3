"""A host that is shut down in order: it says so, and waits until its servers have left."""

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from hostagent.config import AgentConfig
from hostagent.fence.guests import find_guests
from hostagent.fence.word import boot_id, read_word
from hostagent.ownership import BadRecord, decode_record
from wire.errors import GodwitError
from wire.etcd import Condition, Etcd, EtcdUnreachable, Write
from wire.fleet import HostPolicy, ServerRecord
from wire.keys import POLICIES, SERVERS, SHUTDOWNS
from wire.life import HostShutdown

DEFAULT_WITHIN_S = 300
_POLL_S = 1.0
_MARK = "shutting-down"


def mark(run_dir: Path) -> Path:
    """There while the host shuts down: guests that end now are still wanted on."""
    return run_dir / _MARK


def take_back(etcd: Etcd, run_dir: Path, host_id: str) -> None:
    """Delete the word of a shutdown that does not come: its mark is gone, and the host lives on.

    Raises:
        EtcdUnreachable: it may still be there.
    """
    stored = etcd.get(SHUTDOWNS + host_id)
    # the mark is always there before its word is: one that is missing now was taken away after
    if stored is None or mark(run_dir).exists():
        return
    with contextlib.suppress(msgspec.DecodeError):
        if msgspec.json.decode(stored.value, type=HostShutdown).boot_id != boot_id():
            return
    gone = Write(key=stored.key, value=None)
    etcd.transact(when=[Condition(key=stored.key, mod_revision=stored.mod_revision)], then=[gone])


def shut_down_host(
    config: AgentConfig, etcd: Etcd, *, within_s: int, say: Callable[[str], None]
) -> None:
    """Announce the shutdown and wait for servers to leave, if the policy moves them away.

    Nothing that goes wrong keeps a host from being shut down: it is said, and that is all.
    """
    config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark(config.run_dir).touch()
    word = read_word(config.run_dir)
    if word is None:
        say(
            "nobody waits for this host's servers: its agent has never held a lease since the start"
        )
        return
    try:
        _leave(etcd, word.host_id, within_s=within_s, say=say)
    except (GodwitError, msgspec.DecodeError) as error:
        say(f"this host shuts down with its servers: {error}")


def _leave(etcd: Etcd, host_id: str, *, within_s: int, say: Callable[[str], None]) -> None:
    until_s = time.monotonic() + within_s
    asked = HostShutdown(
        boot_id=boot_id(), asked_at_ms=time.time_ns() // 1_000_000, within_s=within_s
    )
    etcd.put(SHUTDOWNS + host_id, msgspec.json.encode(asked))
    here = _running(etcd, host_id)
    stored = etcd.get(POLICIES + host_id)
    policy = HostPolicy() if stored is None else msgspec.json.decode(stored.value, type=HostPolicy)
    if not (policy.auto_migrate_on_host_down and policy.auto_migrate_on_host_shutdown):
        say(f"this host's policy moves nothing away: {_named(here)}")
        return
    say(f"waiting at most {within_s} s for servers to leave: {_named(here)}")
    told = ""
    while here and time.monotonic() < until_s:
        time.sleep(_POLL_S)
        try:
            now = _running(etcd, host_id)
        except EtcdUnreachable as error:
            if error.message != told:
                say(f"the wait goes on: {error.message}")
            told = error.message
            continue
        for server_id in here.keys() - now.keys():
            say(f"{here[server_id]!r} has left")
        here = now
    say(f"stays and is shut down with this host: {_named(here)}")


def _running(etcd: Etcd, host_id: str) -> dict[str, str]:
    """Ids and names of servers that run here and that this host owns."""
    running = {guest.server_id for guest in find_guests()}
    return {
        record.server_id: record.name
        for record in _records(etcd)
        if record.owner.host_id == host_id and record.server_id in running
    }


def _records(etcd: Etcd) -> Iterable[ServerRecord]:
    for item in etcd.list(SERVERS).items:
        try:
            yield decode_record(item.key, item.value)
        except BadRecord:
            continue


def _named(servers: dict[str, str]) -> str:
    return ", ".join(sorted(servers.values())) or "no server runs"
