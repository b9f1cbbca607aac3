"""What ``godwit-lab`` says to a person who may not, and on a terminal that cannot show it."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lab.cli import main
from lab.registry import write_state
from lab.state import LabShape, new_state

NOBODY = 65534


@pytest.fixture
def own_root(tmp_path, monkeypatch):
    monkeypatch.setenv("GODWIT_LAB_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_who_is_not_root_is_told_so_in_one_sentence(own_root):
    own_root.chmod(0o700)
    os.seteuid(NOBODY)
    try:
        done = CliRunner().invoke(main, ["status", "--name", "x"])
    finally:
        os.seteuid(0)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"godwit-lab: {own_root}/x")
    assert done.stderr.endswith("labs are root's, use sudo\n")
    assert done.stderr.count("\n") == 1


def test_status_of_a_lab_whose_up_was_broken_off_shows_on_any_terminal(own_root):
    (own_root / "x").mkdir()
    write_state(new_state("x", subnet=254, shape=LabShape(host_count=1, server_count=0)))
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", "status", "--name", "x"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "NODE",
        "controller",
        "kvm-01",
    ]
    assert done.stdout.count("cut") == 2
