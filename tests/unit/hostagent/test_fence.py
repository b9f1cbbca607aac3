"""The fence's arithmetic, and its rounds on a clock of the test's own."""

import itertools

import pytest

from hostagent.fence.card import CardError
from hostagent.fence.deadline import fence_times, refresh_every_s, refusal, wished_timeout_s
from hostagent.fence.guests import Process
from hostagent.fence.rounds import Fence, Host
from hostagent.fence.word import Status, Word

ON_SHARED = Process(11, 1, "10000000-0000-0000-0000-000000000000")
LIBVIRT = Process(13, 1)
ON_LOCAL = Process(12, 1, "20000000-0000-0000-0000-000000000000")


class FakeCard:
    def __init__(self, timeout_s: int) -> None:
        self.timeout_s = timeout_s
        self.pets: list[float] = []
        self.ended = ""
        self.broken = False
        self.now = lambda: 0.0

    def pet(self) -> None:
        if self.broken:
            raise CardError("it is broken")
        self.pets.append(self.now())

    def stop(self) -> None:
        self.ended = "stopped"

    def leave(self) -> None:
        self.ended = "left"


class FakeHost:
    """A host whose clock stands still unless the test moves it."""

    def __init__(self, *guests: Process) -> None:
        self.now_s = 100.0
        self.word: Word | None = None
        self.guests = set(guests)
        self.immortal: set[Process] = set()
        self.looking_takes_s = 0.0
        self.cards: list[FakeCard] = []
        self.card_error = ""
        self.timeout_s: int | None = None
        self.said: list[str] = []
        self.libvirt: set[Process] = set()
        self.cached = ""
        self.mark = ""
        """Which start of the machine was fenced."""
        self.mark_error = ""
        self.boot = 1
        self.start_fence()

    def start_fence(self, earlier: Status | None = None) -> None:
        self.fence = Fence(
            Host(
                clock=lambda: self.now_s,
                read_word=lambda: self.word,
                open_card=self.open_card,
                find_guests=self.find,
                find_libvirt=lambda: tuple(self.libvirt),
                cached_disk=lambda _: self.cached,
                kill=self.kill,
                is_gone=lambda guest: guest not in self.guests | self.libvirt,
                was_fenced=lambda: self.mark not in {"", f"boot {self.boot}"},
                set_mark=self.set_mark,
                remove_mark=lambda: setattr(self, "mark", ""),
                say=self.said.append,
            ),
            pid=1,
            etcd_timeout_s=2.0,
            earlier=earlier,
        )

    def open_card(self, timeout_s: int) -> FakeCard:
        if self.card_error:
            raise CardError(self.card_error)
        card = FakeCard(self.timeout_s or timeout_s)
        card.now = lambda: self.now_s
        self.cards.append(card)
        return card

    def set_mark(self) -> None:
        if self.mark_error:
            raise OSError(self.mark_error)
        self.mark = self.mark or f"boot {self.boot}"

    def start_machine(self) -> None:
        """After a power cut: what is on disk is all that is left."""
        self.boot += 1
        self.word = None
        self.guests.clear()
        self.start_fence()

    def find(self) -> tuple[Process, ...]:
        self.now_s += self.looking_takes_s
        return tuple(self.guests)

    def kill(self, guest: Process) -> None:
        if guest not in self.immortal:
            self.guests.discard(guest)
            self.libvirt.discard(guest)

    def tell(
        self,
        *,
        t_ok_s: float,
        armed: bool = True,
        may_stay: tuple[str, ...] = (),
        epoch: int = 1,
        begun: bool = True,
    ) -> None:
        self.word = Word("boot", "h", epoch, armed, t_ok_s, 5, may_stay, begun)

    def at(self, now_s: float):
        self.now_s = now_s
        return self.fence.round()

    def live(self, until_s: float) -> None:
        while self.now_s < until_s:
            self.now_s += 0.2
            self.fence.round()


def test_a_lease_of_five_seconds_kills_after_half_of_it():
    times = fence_times(5, watchdog_timeout_s=wished_timeout_s(5))
    assert (times.watchdog_timeout_s, times.margin_s, times.kill_s) == (1, 0.5, 1.0)
    assert times.dead_by(10.0) == pytest.approx(14.495)
    assert times.pet_until(10.0) == pytest.approx(13.495)
    assert times.kill_from(10.0) == pytest.approx(12.495)
    assert refresh_every_s(5) == pytest.approx(5 / 6)
    assert refusal(times, etcd_timeout_s=2.0) == ""


@pytest.mark.parametrize("ttl_s", [5, 6, 10, 15, 30, 60, 300])
def test_every_lease_from_five_seconds_on_can_be_fenced(ttl_s):
    times = fence_times(ttl_s, watchdog_timeout_s=wished_timeout_s(ttl_s))
    assert refusal(times, etcd_timeout_s=2.0) == ""
    assert 0 < times.kill_from(0) < times.pet_until(0) < times.dead_by(0) < ttl_s


def test_times_that_forgive_no_missed_refresh_are_refused_with_both_figures():
    assert "lease_ttl_s = 4 " in refusal(fence_times(4, watchdog_timeout_s=1), etcd_timeout_s=2.0)
    assert "time-out of 5 s" in refusal(fence_times(10, watchdog_timeout_s=5), etcd_timeout_s=2.0)


def test_while_etcd_is_heard_the_card_is_petted_and_nobody_dies():
    host = FakeHost(ON_SHARED)
    for second in range(100, 200):
        host.tell(t_ok_s=second)
        status = host.at(second + 2.4)
    assert status.armed
    assert (status.watchdog_timeout_s, status.fired_epoch) == (1, 0)
    assert len(host.cards[0].pets) == 100
    assert host.guests == {ON_SHARED}


def test_without_etcd_guests_die_first_and_the_host_stays_up():
    host = FakeHost(ON_SHARED, ON_LOCAL)
    host.tell(t_ok_s=100.0, may_stay=(ON_LOCAL.server_id,))
    host.at(102.4)
    assert host.guests == {ON_SHARED, ON_LOCAL}
    assert host.at(102.6).fired_epoch == 1
    assert host.guests == {ON_LOCAL}
    host.live(120.0)
    pets = host.cards[0].pets
    assert pets[-1] == pytest.approx(host.now_s)
    assert max(later - sooner for sooner, later in itertools.pairwise(pets)) < 1.0
    assert any(ON_SHARED.server_id in line for line in host.said)


def test_a_guest_that_does_not_die_lets_the_card_fire_before_the_lease_runs_out():
    host = FakeHost(ON_SHARED)
    host.immortal = {ON_SHARED}
    host.tell(t_ok_s=100.0)
    host.live(110.0)
    last_pet_s = host.cards[0].pets[-1]
    assert last_pet_s + host.cards[0].timeout_s <= 100.0 + 5 * 0.999 - 0.5
    assert host.cards[0].ended == ""
    host.guests.clear()
    host.live(110.5)
    assert host.cards[0].pets[-1] > 110.0


def test_a_process_on_its_way_out_is_waited_for_although_it_is_not_found_any_more():
    host = FakeHost(ON_SHARED)
    host.immortal = {ON_SHARED}
    host.tell(t_ok_s=100.0)
    host.at(102.6)
    # it vanishes from the list, and is not over
    host.fence._host = host.fence._host._replace(find_guests=tuple)
    host.at(104.0)
    assert host.cards[0].pets == [102.6]


def test_a_round_that_was_frozen_looks_again_before_it_pets():
    host = FakeHost()
    host.tell(t_ok_s=100.0)
    host.at(102.6)
    host.looking_takes_s = 3.0
    before = len(host.cards[0].pets)
    host.at(103.0)
    assert len(host.cards[0].pets) == before
    host.looking_takes_s = 0.0
    host.at(host.now_s + 0.2)
    assert len(host.cards[0].pets) == before + 1


def test_a_fence_that_wakes_too_late_kills_and_does_not_pet_while_a_guest_lives():
    host = FakeHost(ON_SHARED)
    host.immortal = {ON_SHARED}
    host.tell(t_ok_s=100.0)
    host.at(100.1)
    host.at(160.0)
    assert host.cards[0].pets == [100.1]


def test_disarming_stops_the_card():
    host = FakeHost(ON_SHARED)
    host.tell(t_ok_s=100.0)
    host.at(100.1)
    host.tell(t_ok_s=100.0, armed=False)
    assert not host.at(101.0).armed
    assert host.cards[0].ended == "stopped"
    host.live(130.0)
    assert host.guests == {ON_SHARED}


def test_a_word_that_is_lost_grows_old_instead_of_disarming():
    host = FakeHost(ON_SHARED)
    host.tell(t_ok_s=100.0)
    host.at(100.1)
    host.word = None
    host.live(103.0)
    assert host.guests == set()
    assert host.cards[0].ended == ""


def test_a_word_of_another_start_of_the_machine_is_no_word():
    host = FakeHost(ON_SHARED)
    host.tell(t_ok_s=9000.0)
    assert not host.at(100.0).armed
    assert host.cards == []


def test_why_there_is_no_card_is_told():
    host = FakeHost()
    host.card_error = "no /dev/watchdog"
    host.tell(t_ok_s=100.0)
    status = host.at(100.0)
    assert (status.armed, status.detail) == (False, "no /dev/watchdog")
    host.card_error = ""
    host.at(100.2)
    assert host.cards == []
    assert host.at(101.1).armed


def test_a_card_whose_own_time_out_leaves_no_time_is_refused():
    host = FakeHost()
    host.timeout_s = 4
    host.tell(t_ok_s=100.0)
    status = host.at(100.0)
    assert not status.armed
    assert "time-out of 4 s" in status.detail
    assert host.cards[0].ended == "stopped"


def test_a_card_that_breaks_is_told_at_once_and_guests_die_all_the_same():
    host = FakeHost(ON_SHARED)
    host.tell(t_ok_s=100.0)
    host.at(100.1)
    host.cards[0].broken = True
    host.card_error = "no /dev/watchdog"
    status = host.at(100.3)
    assert (status.armed, status.detail) == (False, "it is broken")
    host.live(103.0)
    assert host.guests == set()


def test_libvirt_dies_first_and_once_so_that_no_call_in_it_starts_a_guest():
    host = FakeHost(ON_SHARED)
    host.libvirt = {LIBVIRT}
    host.tell(t_ok_s=100.0)
    host.at(102.4)
    assert host.libvirt == {LIBVIRT}
    host.at(102.6)
    assert host.libvirt == set()
    host.libvirt = {LIBVIRT._replace(pid=14)}  # its supervisor starts it again
    host.live(110.0)
    assert host.libvirt
    assert host.cards[0].pets[-1] == pytest.approx(host.now_s)


def test_what_appears_after_it_has_fired_dies_until_the_host_has_another_life():
    host = FakeHost(ON_SHARED)
    host.tell(t_ok_s=100.0)
    host.at(103.0)
    host.tell(t_ok_s=103.0)  # etcd is heard again, in the same life
    host.guests.add(ON_LOCAL)
    host.at(103.2)
    assert host.guests == set()
    host.tell(t_ok_s=103.4, epoch=2)
    host.guests.add(ON_SHARED)
    host.at(103.6)
    assert host.guests == {ON_SHARED}


def test_the_next_process_knows_that_this_one_fired():
    host = FakeHost(ON_SHARED)
    host.tell(t_ok_s=100.0, epoch=1)
    host.start_fence(Status(100.0, 1, armed=True, watchdog_timeout_s=1, fired_epoch=1))
    assert host.at(100.1).fired_epoch == 1
    assert host.guests == set()


def test_a_guest_that_wrote_through_the_cache_takes_its_host_with_it():
    host = FakeHost(ON_SHARED)
    host.cached = "/srv/shared/vm.img"
    host.tell(t_ok_s=100.0)
    host.live(110.0)
    assert host.guests == set()
    assert host.cards[0].pets[-1] + 1 <= 100.0 + 5 * 0.999 - 0.5


def test_a_machine_that_was_fenced_takes_no_guest_until_it_has_another_life():
    host = FakeHost()
    host.tell(t_ok_s=100.0)
    host.at(100.1)
    host.start_machine()
    host.guests = {ON_SHARED, ON_LOCAL}  # by hand, or brought by a migration
    host.at(101.0)
    assert host.guests == set()
    host.tell(t_ok_s=101.0, begun=False, may_stay=(ON_LOCAL.server_id,), epoch=2)
    host.guests = {ON_SHARED, ON_LOCAL}
    assert host.at(101.2).armed
    assert host.guests == set()
    host.tell(t_ok_s=101.0, epoch=2)
    host.guests = {ON_SHARED}
    host.at(101.4)
    assert host.guests == {ON_SHARED}


@pytest.mark.parametrize("armed", [True, False])
def test_the_first_life_on_a_machine_costs_no_guest(armed):
    host = FakeHost(ON_SHARED)
    host.at(100.1)
    host.tell(t_ok_s=100.0, armed=armed, begun=False)
    host.at(100.3)
    host.start_fence()
    host.at(100.5)
    assert host.guests == {ON_SHARED}


def test_a_machine_that_was_disarmed_takes_guests_at_once():
    host = FakeHost()
    host.tell(t_ok_s=100.0)
    host.at(100.1)
    host.tell(t_ok_s=100.0, armed=False)
    host.at(100.3)
    host.start_machine()
    host.guests = {ON_SHARED}
    host.at(101.0)
    assert host.guests == {ON_SHARED}


def test_without_a_mark_that_lasts_no_card_is_armed():
    host = FakeHost()
    host.mark_error = "read-only file system"
    host.tell(t_ok_s=100.0)
    status = host.at(100.1)
    assert (status.armed, host.cards) == (False, [])
    assert "read-only file system" in status.detail


@pytest.mark.parametrize("timeout_s", [0, 4])
def test_a_host_whose_card_could_never_be_armed_keeps_its_guests(timeout_s):
    host = FakeHost(ON_SHARED)
    host.libvirt = {LIBVIRT}
    host.timeout_s = timeout_s
    host.card_error = "" if timeout_s else "no /dev/watchdog"
    host.tell(t_ok_s=100.0)
    host.live(120.0)
    assert host.guests == {ON_SHARED}
    assert host.libvirt == {LIBVIRT}


def test_the_next_process_kills_although_it_does_not_get_the_card():
    host = FakeHost(ON_SHARED)
    host.card_error = "another program holds /dev/watchdog"
    host.start_fence(Status(100.0, 1, armed=True, watchdog_timeout_s=1))
    host.tell(t_ok_s=100.0)
    host.live(103.0)
    assert host.guests == set()


def test_a_card_that_the_process_before_left_is_stopped_when_it_is_not_wanted_any_more():
    host = FakeHost(ON_SHARED)
    host.start_fence(Status(100.0, 1, armed=True, watchdog_timeout_s=1))
    host.tell(t_ok_s=100.0, armed=False)
    assert not host.at(100.2).armed
    assert [card.ended for card in host.cards] == ["stopped"]
    host.live(101.0)
    assert len(host.cards) == 1


def test_an_answer_is_dated_before_the_word_was_read_that_it_answers():
    host = FakeHost(ON_SHARED)
    host.looking_takes_s = 3.0
    host.tell(t_ok_s=100.0)
    assert host.at(104.0).at_s == 104.0


def test_the_next_process_knows_that_the_host_must_be_reset():
    host = FakeHost()
    host.start_fence(Status(100.0, 1, armed=True, watchdog_timeout_s=1, fired_epoch=1, cached=True))
    host.tell(t_ok_s=100.0, epoch=1)
    host.live(110.0)
    assert host.cards[0].pets[-1] + 1 <= 100.0 + 5 * 0.999 - 0.5
