"""What a host says when it is shut down, and takes back when it is not; on a real etcd."""

import msgspec

from hostagent.fence.word import boot_id
from hostagent.shutdown import mark, take_back
from wire.fleet import HostShutdown
from wire.keys import SHUTDOWNS

KEY = SHUTDOWNS + "host-1"


def say(etcd, boot: str) -> None:
    word = HostShutdown(boot_id=boot, asked_at_ms=1, within_s=300)
    etcd.put(KEY, msgspec.json.encode(word))


def test_a_shutdown_that_does_not_come_is_taken_back(etcd, tmp_path):
    say(etcd, boot_id())
    mark(tmp_path).touch()
    take_back(etcd, tmp_path, "host-1")
    assert etcd.get(KEY) is not None
    mark(tmp_path).unlink()
    take_back(etcd, tmp_path, "host-1")
    assert etcd.get(KEY) is None
    take_back(etcd, tmp_path, "host-1")


def test_the_word_of_an_earlier_start_is_left_for_the_report(etcd, tmp_path):
    say(etcd, "another")
    take_back(etcd, tmp_path, "host-1")
    assert etcd.get(KEY) is not None
