"""Times in sentences of the backend are told in UTC, which they say."""

import ast
import time
from pathlib import Path

import pytest

import backend
from backend import moments

_LOCAL_OR_UNNAMED = {"strftime", "isoformat", "fromtimestamp", "utcfromtimestamp", "localtime"}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_moment_is_the_same_wherever_the_backend_runs(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert moments.moment(1_764_131_400_000) == "2025-11-26 04:30 UTC"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_nothing_else_of_the_backend_words_a_moment():
    folder = Path(backend.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{node.lineno}"
        for path in folder.rglob("*.py")
        if path.name != "moments.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in _LOCAL_OR_UNNAMED
    ]
    assert found == []
