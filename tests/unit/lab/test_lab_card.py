"""The watchdog card of a host: armed, petted, disarmed, and what it does when it is not petted."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import card, processes
from lab.card import CardCondition
from lab.init import ENVIRONMENT

TIMEOUT_S = 1
pytestmark = pytest.mark.timeout(60)


class HostWithCard:
    """A process with a child, as a node's ``unshare`` has one, and a card that watches it."""

    def __init__(self, folder: Path) -> None:
        (folder / "log").mkdir()
        self._folder = folder
        argv = ["sh", "-c", "sleep 600 & wait"]
        output = folder / "log" / "host.log"
        pid = processes.spawn(argv, stdin=None, output=output, environment=ENVIRONMENT)
        self.host = processes.identify(pid)
        self.card = card.start(self.host, folder, TIMEOUT_S, environment=ENVIRONMENT)

    def open(self) -> int:
        """As a fence opens /dev/watchdog."""
        return os.open(self._folder / "watchdog", os.O_WRONLY | os.O_NONBLOCK)

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, card.read_state(self._folder)
            time.sleep(0.01)

    def until_condition(self, condition: CardCondition) -> None:
        self.until(lambda: card.read_state(self._folder).condition is condition)

    @property
    def log(self) -> str:
        return (self._folder / "log" / "card.log").read_text()

    @property
    def alive(self) -> bool:
        return processes.is_alive(self.host)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostWithCard]:
    made = HostWithCard(tmp_path)
    made.until(lambda: processes.child_of(made.host) is not None)
    yield made
    child = processes.child_of(made.host)
    processes.kill(made.host)
    if child is not None:
        processes.kill(child)
    processes.kill(made.card)


def test_a_card_that_nobody_has_petted_does_nothing(host):
    os.close(host.open())
    time.sleep(1.5 * TIMEOUT_S)
    assert host.alive
    assert host.log == ""


def test_a_card_that_is_not_petted_any_more_ends_the_host_and_says_why(host):
    child = processes.child_of(host.host)
    writer = host.open()
    for _ in range(4):
        os.write(writer, b"\0")
        time.sleep(TIMEOUT_S / 2)
        assert host.alive
    host.until_condition(CardCondition.FIRED)
    host.until(lambda: not host.alive and not processes.is_alive(child))
    assert "armed\n" in host.log
    assert "fired not petted for 1 s" in host.log
    host.until(lambda: not processes.is_alive(host.card))
    os.close(writer)


def test_a_magic_close_disarms_it_until_it_is_petted_again(host):
    for _ in range(2):
        writer = host.open()
        os.write(writer, b"\0")
        host.until_condition(CardCondition.ARMED)
        os.write(writer, b"V")
        os.close(writer)
        host.until_condition(CardCondition.DISARMED)
        time.sleep(1.5 * TIMEOUT_S)
        assert host.alive


@pytest.mark.parametrize("said", [b"\0", b"V\0"], ids=["no V", "a V that was not the last"])
def test_a_close_without_a_v_at_its_end_does_not_disarm_it(host, said):
    writer = host.open()
    for one in said:
        os.write(writer, bytes([one]))
    os.close(writer)
    host.until_condition(CardCondition.FIRED)


def test_a_card_that_is_late_itself_sees_first_that_it_was_petted(host):
    writer = host.open()
    os.write(writer, b"\0")
    host.until_condition(CardCondition.ARMED)
    os.kill(host.card.pid, signal.SIGSTOP)
    time.sleep(1.5 * TIMEOUT_S)
    os.write(writer, b"\0")
    os.kill(host.card.pid, signal.SIGCONT)
    time.sleep(TIMEOUT_S / 2)
    assert host.alive
    host.until_condition(CardCondition.FIRED)
    os.close(writer)


def test_another_writer_takes_over_an_armed_card(host):
    for _ in range(3):
        writer = host.open()
        os.write(writer, b"\0")
        os.close(writer)
        time.sleep(TIMEOUT_S / 2)
    assert host.alive
    host.until_condition(CardCondition.FIRED)


def test_a_card_ends_with_its_host(host):
    processes.kill(host.host)
    host.until(lambda: not processes.is_alive(host.card))
    assert host.log == ""
