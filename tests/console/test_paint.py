from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.paint import (
    Span,
    Tone,
    changed_columns,
    clip,
    cut,
    labelled,
    length,
    line,
    pad,
    plain,
    spread,
    wrap,
)

texts = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40)


def test_cut_shows_that_something_is_lost():
    assert cut("kvm-01", 6) == "kvm-01"
    assert cut("kvm-01", 5) == "kvm-…"
    assert cut("kvm-01", 0) == ""


def test_cut_counts_cells_of_wide_characters():
    assert cut("数据库", 5) == "数据…"
    assert cut("数据库", 4) == "数…"


@given(texts, st.integers(0, 30))
def test_pad_gives_exactly_the_width(text: str, width: int):
    assert cell_len(pad(text, width)) == width
    assert cell_len(pad(text, width, right=True)) == width


@given(texts, st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_no_letter(text: str, width: int):
    lines = wrap(text, width)
    assert all(length(each) <= width for each in lines)
    assert "".join(plain(each) for each in lines).replace(" ", "") == "".join(text.split())


def test_a_wide_character_in_a_line_of_one_cell_ends_the_wrap():
    assert [plain(each) for each in wrap("数据 a", 1)] == ["数", "据", "a"]


def test_wrap_breaks_at_blanks_and_keeps_the_tone():
    lines = wrap("microcode differs here", 10, Tone.WARN)
    assert [plain(each) for each in lines] == ["microcode", "differs", "here"]
    assert {span.tone for each in lines for span in each} == {Tone.WARN}


def test_clip_keeps_the_beginning():
    shown = clip(line(Span("kvm-01", Tone.GOOD), " is online"), 9)
    assert plain(shown) == "kvm-01 i…"
    assert shown[0].tone is Tone.GOOD


def test_spread_puts_the_ends_at_the_edges_and_lets_the_left_give_way():
    assert plain(spread(line("left"), line("right"), 12)) == "left   right"
    assert plain(spread(line("a long left side"), line("right"), 12)) == "a lon… right"


def test_labelled_values_wrap_under_themselves():
    lines = labelled([("disk", Span("shared and raw"))], 20, label_width=6)
    assert [plain(each) for each in lines] == ["disk  shared and raw"]
    lines = labelled([("disk", Span("shared and raw"))], 16, label_width=6)
    assert [plain(each) for each in lines] == ["disk  shared and", "      raw"]


def test_only_cells_that_differ_count_as_changed():
    assert changed_columns(line("pass 3"), line("pass 3")) == []
    assert changed_columns(line("pass 3"), line("pass 4")) == [(5, 6)]
    assert changed_columns(line("ab"), line("abcd")) == [(2, 4)]


def test_a_changed_tone_is_a_change():
    before, after = line(Span("up", Tone.GOOD)), line(Span("up", Tone.BAD))
    assert changed_columns(before, after) == [(0, 2)]


def test_near_changes_are_painted_in_one_go_and_far_ones_are_not():
    before = line("0" + " " * 5 + "0" + " " * 40 + "0")
    after = line("1" + " " * 5 + "1" + " " * 40 + "1")
    assert changed_columns(before, after) == [(0, 7), (47, 48)]


def test_a_change_after_a_wide_character_starts_at_a_whole_cell():
    assert changed_columns(line("数 1"), line("库 1")) == [(0, 1)]
    assert changed_columns(line("ab 1"), line("数 1"), merge=1) == [(0, 2)]


@given(texts, texts)
def test_painting_the_changed_columns_turns_the_old_line_into_the_new(old: str, new: str):
    width = max(cell_len(old), cell_len(new))
    runs = changed_columns(line(old), line(new))
    changed = {x for first, end in runs for x in range(first, end)}
    before, after = _cells(pad(old, width)), _cells(pad(new, width))
    assert all(before[x] == after[x] for x in range(width) if x not in changed)


def _cells(text: str) -> list[str]:
    cells: list[str] = []
    for character in text:
        width = cell_len(character)
        if width == 0 and cells:
            cells[-1] += character
        else:
            cells += [character, *[""] * (width - 1)]
    return cells
