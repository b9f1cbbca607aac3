import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.text import escape_lines, escape_text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("web-1", "web-1"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nb\tc\x7f", r"a\x0ab\x09c\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("pay\u202egnp.exe", r"pay\u202egnp.exe"),
        ("ze\u200bro", r"ze\u200bro"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("half\udcff", r"half\udcff"),
        ("línea 水 é", "línea 水 é"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(hostile: str, shown: str):
    assert escape_text(hostile) == shown


@given(st.text(st.characters(codec=None)))
def test_nothing_unsafe_is_left(text: str):
    shown = escape_text(text)
    shown.encode()
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Zl", "Zp"}
    assert escape_text(shown) == shown


def test_lines_of_a_long_error_stay_lines():
    assert escape_lines("one\n\x1btwo\r\nthree") == ["one", r"\x1btwo", "three"]
