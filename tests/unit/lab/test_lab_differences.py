"""In what the fifth and the sixth host of a lab differ."""

import subprocess

import pytest

from lab import differences
from lab.cpuinfo import COMMON, cpu_of_host
from lab.differences import kernel_of_host, missing_feature_of_host


@pytest.mark.parametrize("host_count", [1, 3, 4])
def test_small_labs_have_one_kernel_and_one_emulator(host_count):
    assert {kernel_of_host(i, host_count) for i in range(host_count)} == {""}
    assert {missing_feature_of_host(i, host_count) for i in range(host_count)} == {""}


@pytest.mark.parametrize("host_count", [6, 9])
def test_fifth_differs_in_kernel_alone_and_sixth_in_a_feature_alone(host_count):
    hosts = range(host_count)
    assert [i for i in hosts if kernel_of_host(i, host_count)] == [4]
    assert [i for i in hosts if missing_feature_of_host(i, host_count)] == [5]
    assert cpu_of_host(4, host_count) == cpu_of_host(5, host_count) == COMMON


def test_five_hosts_lack_no_feature():
    assert kernel_of_host(4, 5)
    assert {missing_feature_of_host(i, 5) for i in range(5)} == {""}


def test_wrapped_emulator_gets_every_argument_and_the_last_word_on_the_feature(tmp_path):
    differences.write_emulator(tmp_path, "aes")
    real = tmp_path / "bin" / differences.EMULATOR.name
    real.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    real.chmod(0o755)
    given = ["-name", "a b,c=*", "-cpu", "qemu64,aes=on", "-S", ""]
    done = subprocess.run(
        [tmp_path / "wrapper", *given], check=True, capture_output=True, text=True
    )
    told = done.stdout.split("\n")[:-1]
    assert told[:2] == ["-global", "x86_64-cpu.aes=off"]
    assert told[2:] == ["-name", "a b,c=*", "-cpu", "qemu64,aes=on,aes=off", "-S", ""]
