"""What a host says of its life, in the order that the fence needs; on a real etcd."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hostagent.fence.word import STATUS, Status, read_word, write
from hostagent.fencing import Fencing
from hostagent.heartbeat import Heartbeat
from wire.errors import ErrorCode, GodwitError
from wire.etcd import Etcd, EtcdUnreachable
from wire.fleet import HostPolicy
from wire.keys import HEALTH, LIVES, POLICIES
from wire.lease import boot_clock_s
from wire.life import Fence, HealthValue

HOST = "host-1"


def eventually(found: Callable[[], object], what: str | Callable[[], str]) -> None:
    until = time.monotonic() + 20
    while not found():
        assert time.monotonic() < until, what if isinstance(what, str) else what()
        time.sleep(0.02)


class Host:
    """A heartbeat, with a fence that answers as it is told to."""

    def __init__(self, etcd: Etcd, folder: Path) -> None:
        self.etcd = etcd
        self.folder = folder
        self.lost_ended = 0
        self.immortal = False
        self.card = True
        self.runs = True
        self.fired_epoch = 0
        self.epochs: list[int] = []
        self.words: list[bool] = []
        self._ended = threading.Event()
        self._fence = threading.Thread(target=self._answer)
        self._fence.start()
        self.heartbeat = self.another()

    def another(self) -> Heartbeat:
        return Heartbeat(
            self.etcd,
            HOST,
            ttl_s=5,
            fencing=Fencing(self.folder),
            end_lost=self._end_lost,
            on_held=self.epochs.append,
        )

    def _end_lost(self) -> None:
        if self.immortal:
            raise GodwitError(ErrorCode.INTERNAL, "it does not die")
        self.lost_ended += 1

    def _answer(self) -> None:
        while not self._ended.wait(0.02):
            word = read_word(self.folder)
            armed = word is not None and word.armed and self.card
            detail = "" if self.card else "no /dev/watchdog"
            if self.runs:
                status = Status(boot_clock_s(), 1, armed, 1, detail, self.fired_epoch)
                write(self.folder / STATUS, status)

    def want_rescue(self, *, wanted: bool = True) -> None:
        policy = HostPolicy(auto_migrate_on_host_down=wanted)
        self.etcd.put(POLICIES + HOST, msgspec.json.encode(policy))
        self.heartbeat.policy_changed()

    def value(self, prefix: str = HEALTH) -> HealthValue | None:
        stored = self.etcd.get(prefix + HOST)
        return None if stored is None else msgspec.json.decode(stored.value, type=HealthValue)

    def until(self, **fields: object) -> HealthValue:
        def so() -> bool:
            try:
                value = self.value()
            except EtcdUnreachable:  # its connections take a while to be back after a stop
                return False
            return value is not None and all(
                getattr(value, name) == wanted for name, wanted in fields.items()
            )

        eventually(so, lambda: f"the value says {fields}, and not {self.value()}")
        return self.value()

    def end(self) -> None:
        self.heartbeat.stop()
        self._ended.set()
        self._fence.join()


@pytest.fixture
def host(etcd, tmp_path):
    made = Host(etcd, tmp_path)
    yield made
    made.end()


def test_a_host_that_nobody_wants_rescued_is_not_fenced_and_says_why(host):
    host.heartbeat.start()
    value = host.until(fence=Fence.NONE, fence_detail="automatic rescue is off", epoch=1, ttl_s=5)
    assert value == host.value(LIVES)
    assert not read_word(host.folder).armed


def test_what_is_lost_is_ended_before_the_key_is_there(host):
    host.immortal = True
    host.heartbeat.start()
    time.sleep(2)
    assert host.value() is None
    host.immortal = False
    host.until(epoch=1)
    assert host.lost_ended == 1


def test_the_fence_is_armed_before_it_is_told_of(host):
    host.heartbeat.start()
    host.until(epoch=1)
    host.want_rescue()
    value = host.until(fence=Fence.WATCHDOG, watchdog_timeout_s=1, epoch=1)
    assert read_word(host.folder).armed
    assert value == host.value(LIVES)


def test_a_first_life_is_fenced_from_its_first_word_on(host):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG, epoch=1)
    eventually(lambda: host.epochs, "it is told of")  # after etcd has it
    assert host.epochs == [1]


def test_a_life_has_begun_only_once_etcd_knows_of_it(host):
    host.want_rescue()
    fencing = Fencing(host.folder)
    fencing.arm(HOST, 1, sent_s=boot_clock_s(), ttl_s=5)
    assert not read_word(host.folder).begun
    host.heartbeat = host.another()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG)
    eventually(lambda: read_word(host.folder).begun, "it has begun")


def test_a_fence_is_let_go_only_after_etcd_knows(host, server):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG)
    host.want_rescue(wanted=False)
    host.until(fence=Fence.NONE, fence_detail="automatic rescue is off")
    eventually(lambda: not read_word(host.folder).armed, "it is disarmed")


def test_without_etcd_nobody_lets_go_of_the_fence(host, server):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG)
    server.send(signal.SIGSTOP)
    host.card = False
    time.sleep(3)
    assert read_word(host.folder).armed
    server.send(signal.SIGCONT)
    host.until(fence=Fence.NONE, fence_detail="no /dev/watchdog")
    eventually(lambda: not read_word(host.folder).armed, "it is disarmed")


def test_a_card_that_is_lost_is_told_and_one_that_is_found_again_too(host):
    host.want_rescue()
    host.card = False
    host.heartbeat.start()
    host.until(fence=Fence.NONE, fence_detail="no /dev/watchdog")
    host.card = True
    host.until(fence=Fence.WATCHDOG)
    host.card = False
    host.until(fence=Fence.NONE, fence_detail="no /dev/watchdog")


def test_a_fence_that_does_not_run_is_told(host):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG)
    host.runs = False
    host.until(fence=Fence.NONE, fence_detail="godwit-fence does not run")


def test_guests_that_were_killed_end_the_life_although_its_lease_lives(host):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG, epoch=1)
    host.fired_epoch = 1
    host.until(fence=Fence.WATCHDOG, epoch=2)
    eventually(lambda: read_word(host.folder).epoch == 2, "the fence knows")
    assert host.lost_ended == 2
    eventually(lambda: host.epochs == [1, 2], "it is told")


def test_the_moment_that_counts_moves_only_with_a_key_that_is_there(host, etcd):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG)
    eventually(lambda: read_word(host.folder).epoch == 1, "it is told")
    lease_id = etcd.get(HEALTH + HOST).lease_id
    host.immortal = True  # no other life begins
    etcd.delete(HEALTH + HOST)
    deleted_s = boot_clock_s()
    time.sleep(2)
    assert etcd.refresh_in_term(lease_id).seconds_left > 0
    assert read_word(host.folder).t_ok_s < deleted_s


def test_what_a_killed_agent_still_sends_does_not_count(host, etcd):
    host.heartbeat.start()
    host.until(epoch=1)
    stored = etcd.get(LIVES + HOST)
    etcd.put(LIVES + HOST, msgspec.json.encode(msgspec.structs.replace(host.value(), epoch=7)))
    assert etcd.get(LIVES + HOST).mod_revision > stored.mod_revision
    host.heartbeat.policy_changed()
    host.until(epoch=8)


def test_an_agent_that_is_started_again_finds_the_fence_armed(host):
    host.want_rescue()
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG)
    host.heartbeat.stop()
    before = read_word(host.folder)
    host.heartbeat = host.another()
    assert read_word(host.folder) == before
    host.heartbeat.start()
    host.until(fence=Fence.WATCHDOG, epoch=2)


def test_a_heartbeat_that_ends_leaves_its_key(host, etcd):
    host.heartbeat.start()
    host.until(epoch=1)
    host.heartbeat.stop()
    stored = etcd.get(HEALTH + HOST)
    assert etcd.refresh_in_term(stored.lease_id).seconds_left > 0


def test_epochs_are_counted_anew_beside_what_is_no_life(host, etcd):
    etcd.put(LIVES + HOST, b"many")
    host.heartbeat.start()
    host.until(epoch=1)


def test_epochs_do_not_go_back_with_an_etcd_that_lost_its_data(host, etcd):
    host.heartbeat.start()
    host.until(epoch=1)
    host.fired_epoch = 1
    host.until(epoch=2)
    host.heartbeat.stop()
    etcd.delete(LIVES + HOST)
    host.heartbeat = host.another()
    host.heartbeat.start()
    host.until(epoch=3)
