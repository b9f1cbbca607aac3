"""The program ``godwit-fence`` itself, in a PID namespace with processes that look like guests."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostagent.fence import card
from hostagent.fence.card import Card, CardError
from hostagent.fence.deadline import boot_clock_s
from hostagent.fence.guests import Process, cached_disk, find_guests, is_gone, kill
from hostagent.fence.word import (
    Word,
    boot_id,
    read_status,
    read_word,
    remove_mark,
    set_mark,
    was_fenced,
    write,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")

_DUMMY = "import time; time.sleep(600)"


def eventually(found: Callable[[], object], what: str) -> None:
    until = time.monotonic() + 20
    while not found():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def dummy(server_id: str) -> list[str]:
    return [sys.executable, "-c", _DUMMY, "-uuid", server_id]


class FencedHost:
    """A PID namespace with guests in it, a pipe for a card, and the fence."""

    def __init__(self, folder: Path, guests: list[str]) -> None:
        self.folder = folder
        self.card_path = folder / "watchdog"
        os.mkfifo(self.card_path)
        self.card = os.open(self.card_path, os.O_RDWR | os.O_NONBLOCK)
        config = folder / "hostagent.toml"
        config.write_text(
            f'run_dir = "{folder}"\nstate_dir = "{folder}/state"\n'
            f'watchdog_device = "{self.card_path}"\n'
            "watchdog_timeout_s = 1\n[etcd]\nendpoints = []\n"
        )
        starts = [dummy(server_id) for server_id in guests]
        fence = [sys.executable, "-m", "hostagent.fence.daemon", "--config", str(config)]
        script = (
            "import json, subprocess, sys, time\n"
            "for argv in json.loads(sys.argv[1]): subprocess.Popen(argv)\n"
            "while True:\n"
            "    fence = subprocess.Popen(json.loads(sys.argv[2]))\n"
            "    fence.wait()\n"
        )
        with (folder / "log").open("wb") as log:
            self.init = subprocess.Popen(
                [
                    *("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"),
                    *(sys.executable, "-c", script, json.dumps(starts), json.dumps(fence)),
                ],
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self.status() is not None, "the fence says something")

    def status(self):
        return read_status(self.folder)

    def tell(self, *, ttl_s: int = 5, armed: bool = True, may_stay: tuple[str, ...] = ()) -> None:
        word = Word(boot_id(), "h", 1, armed, boot_clock_s(), ttl_s, may_stay)
        write(self.folder / "fence.json", word)

    def guests(self) -> set[str]:
        """Ids of those that live, seen from outside of the namespace."""
        return {guest.server_id for guest in find_guests() if not is_gone(guest)}

    def written(self) -> bytes:
        try:
            return os.read(self.card, 65536)
        except BlockingIOError:
            return b""

    def pid(self) -> int:
        """The fence's, seen from outside."""
        mark = str(self.folder / "hostagent.toml").encode()
        return next(
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if b"hostagent.fence.daemon\0" in (line := cmdline(process))
            and mark in line
            and not line.startswith(b"unshare")
            and b"subprocess" not in line
        )

    def end(self) -> None:
        self.init.kill()
        self.init.wait()
        os.close(self.card)


def cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def fenced(tmp_path: Path) -> Iterator[Callable[..., FencedHost]]:
    made: list[FencedHost] = []

    def make(*guests: str) -> FencedHost:
        made.append(FencedHost(tmp_path, list(guests)))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_it_arms_kills_in_time_and_goes_on_petting(fenced):
    doomed, stays = str(uuid.uuid4()), str(uuid.uuid4())
    host = fenced(doomed, stays)
    assert not host.status().armed
    host.tell(may_stay=(stays,))
    t_ok_s = read_word(host.folder).t_ok_s
    eventually(lambda: host.status().armed, "it is armed")
    assert host.status().watchdog_timeout_s == 1
    eventually(lambda: doomed not in host.guests(), "the guest is killed")
    assert boot_clock_s() < t_ok_s + 5
    assert stays in host.guests()
    eventually(lambda: boot_clock_s() > t_ok_s + 5, "the lease is over")
    host.written()
    eventually(
        lambda: host.written().strip(b"\0") == b"" and host.status().fired_epoch == 1, "pets"
    )
    eventually(host.written, "it still pets")


def test_what_runs_on_a_machine_that_was_fenced_dies_until_a_life_has_begun(fenced, tmp_path):
    set_mark(tmp_path / "state", "an earlier start")
    host = fenced(guest := str(uuid.uuid4()))
    eventually(lambda: guest not in host.guests(), "the guest is killed")
    host.tell(ttl_s=60, armed=False)
    eventually(lambda: not was_fenced(tmp_path / "state", boot_id()), "it is not fenced any more")


def test_a_mark_is_of_one_start_and_lasts(tmp_path):
    folder = tmp_path / "state"
    assert not was_fenced(folder, "one")
    set_mark(folder, "one")
    set_mark(folder, "two")
    assert not was_fenced(folder, "one")
    assert was_fenced(folder, "two")
    (folder / "fenced").write_bytes(b"")  # whatever a crash made of it
    assert was_fenced(folder, "one")
    remove_mark(folder)
    assert not was_fenced(folder, "two")


def test_it_is_back_before_the_card_fires(fenced):
    host = fenced(str(uuid.uuid4()))
    host.tell(ttl_s=60)
    eventually(lambda: host.status().armed, "it is armed")
    before = host.status().pid
    host.written()
    os.kill(host.pid(), signal.SIGKILL)
    eventually(lambda: host.status().pid != before and host.status().armed, "it is armed again")
    assert b"V" not in host.written()


def test_an_order_to_end_leaves_the_card_counting(fenced):
    host = fenced()
    host.tell(ttl_s=60)
    eventually(lambda: host.status().armed, "it is armed")
    before = host.status().pid
    os.kill(host.pid(), signal.SIGTERM)
    eventually(lambda: host.status().pid != before, "the next one runs")
    assert b"V" not in host.written()


def test_disarming_is_the_magic_close(fenced):
    host = fenced(guest := str(uuid.uuid4()))
    host.tell(ttl_s=60)
    eventually(lambda: host.status().armed, "it is armed")
    host.tell(ttl_s=60, armed=False)
    eventually(lambda: not host.status().armed, "it is disarmed")
    assert host.written().endswith(b"V")
    assert guest in host.guests()


def test_a_card_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CardError, match=r"no /.*/none"):
        Card(tmp_path / "none", timeout_s=1, configured=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CardError, match=r"no /.*/pipe"):
        Card(tmp_path / "pipe", timeout_s=1, configured=True)


def test_a_card_that_tells_no_time_out_must_be_configured(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    with pytest.raises(CardError, match="give watchdog_timeout_s"):
        Card(tmp_path / "pipe", timeout_s=1, configured=False)
    os.close(reader)


def test_another_process_with_the_same_pid_is_not_killed():
    server_id = str(uuid.uuid4())
    process = subprocess.Popen(dummy(server_id))
    try:
        eventually(lambda: server_id in {g.server_id for g in find_guests()}, "it is found")
        found = next(guest for guest in find_guests() if guest.server_id == server_id)
        kill(Process(found.pid, found.start_ticks - 1, server_id))
        assert process.poll() is None
        assert not is_gone(found)
        kill(found)
        process.wait(timeout=20)
        assert is_gone(found)
    finally:
        process.kill()
        process.wait()


def _opened(fd: Path) -> Path | None:
    try:
        return fd.readlink()
    except FileNotFoundError:  # closed since it was listed
        return None


def test_a_disk_in_the_page_cache_is_seen(tmp_path):
    """Python opens the file as QEMU would, and tells of it on its command line."""
    for direct in (0, os.O_DIRECT):
        image = tmp_path / f"disk{direct}"
        image.write_bytes(b"0")
        link = tmp_path / f"pool{direct}"
        link.symlink_to(image)  # what the command line says of it is no matter
        append = tmp_path / "log"
        append.touch()
        code = (
            f"import os, time; os.open({str(link)!r}, {os.O_RDWR | direct});"
            f"os.open({str(append)!r}, {os.O_RDWR | os.O_APPEND});"
            f"os.memfd_create('ram'); time.sleep(600)"
        )
        # without the test's own output, a file that is written through the cache
        process = subprocess.Popen(
            [sys.executable, "-c", code, "-uuid", str(uuid.uuid4())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            fds = Path(f"/proc/{process.pid}/fd")
            eventually(
                lambda fds=fds, image=image: image in map(_opened, fds.iterdir()),
                "it has opened its disk",
            )
            found = cached_disk(next(one for one in find_guests() if one.pid == process.pid))
            assert found == ("" if direct else str(image))
        finally:
            process.kill()
            process.wait()


def test_the_word_is_for_its_owner_alone(tmp_path):
    write(tmp_path / "run" / "fence.json", Word("b", "h", 3, armed=True, t_ok_s=1.5, ttl_s=5))
    assert (tmp_path / "run" / "fence.json").stat().st_mode & 0o777 == 0o600
    assert read_word(tmp_path / "run") == Word("b", "h", 3, armed=True, t_ok_s=1.5, ttl_s=5)
    (tmp_path / "run" / "fence.json").write_text('{"armed": tr')
    assert read_word(tmp_path / "run") is None


@pytest.mark.parametrize(("told", "refused"), [("1\n", True), ("0\n", False)])
def test_a_card_that_cannot_be_stopped_again_is_never_started(tmp_path, monkeypatch, told, refused):
    # /dev/null stands in for a device that must not even be opened
    folder = tmp_path / "watchdog1"
    folder.mkdir()
    (folder / "dev").write_text("1:3\n")
    (folder / "nowayout").write_text(told)
    monkeypatch.setattr(card, "_DEVICES", tmp_path)
    if refused:
        with pytest.raises(CardError, match="nowayout=0"):
            Card(Path("/dev/null"), timeout_s=1, configured=True)
    else:
        Card(Path("/dev/null"), timeout_s=1, configured=True).leave()
