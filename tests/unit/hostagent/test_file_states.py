"""What tells that a file was changed while it was copied."""

import os

import pytest

from hostagent.copies.states import differences, states_of


def test_a_file_that_grew_or_was_written_anew_differs_and_one_left_alone_does_not(tmp_path):
    files = [tmp_path / name for name in ("grown", "touched", "left")]
    for file in files:
        file.write_bytes(b"12345")
        os.utime(file, ns=(1_000, 1_000))
    paths = tuple(map(str, files))
    opened = states_of(paths)
    files[0].write_bytes(b"123456")
    os.utime(files[0], ns=(1_000, 1_000))
    os.utime(files[1], ns=(1_000, 2_000))
    grown, touched = differences(opened, states_of(paths))
    assert grown.startswith(f"{paths[0]} was changed while it was copied: 6 bytes of 1000 ns")
    assert touched.endswith("5 bytes of 2000 ns, and it was opened with 5 bytes of 1000 ns")


def test_a_file_that_is_gone_is_no_state(tmp_path):
    with pytest.raises(FileNotFoundError):
        states_of((str(tmp_path / "gone"),))
