import pytest

from tui.filter import Filter
from tui.listing import Column, Content, Listing, fit, hand_over, natural
from tui.paint import Span


def make_column(key: str, width: int, **options: int) -> Column[dict[str, object]]:
    return Column(
        key=key,
        title=key.upper(),
        width=width,
        cell=lambda row, _: Span(str(row[key])),
        order=lambda row: row[key],
        **options,
    )


NAME = make_column("name", 6)
SIZE = make_column("size", 4)
ROWS = {
    "a": {"name": "web-1", "size": 3},
    "b": {"name": "db-1", "size": 1},
    "c": {"name": "web-2", "size": 2},
}


@pytest.fixture
def listing() -> Listing[dict[str, object]]:
    found: Listing[dict[str, object]] = Listing([NAME, SIZE])
    found.update(ROWS)
    return found


def test_numbers_in_names_sort_as_numbers():
    names = ["kvm-10", "kvm-2", "KVM-1", "db"]
    assert sorted(names, key=natural) == ["db", "KVM-1", "kvm-2", "kvm-10"]


def test_rows_are_sorted_by_the_first_column(listing):
    assert listing.ids == ["b", "a", "c"]


def test_the_same_column_again_turns_the_order_round(listing):
    listing.sort_by("size")
    assert listing.ids == ["b", "c", "a"]
    listing.sort_by("size")
    assert listing.ids == ["a", "c", "b"]


def test_equal_rows_are_sorted_by_name_in_either_direction(listing):
    listing.update({key: {**row, "size": 1} for key, row in ROWS.items()})
    for _ in range(2):
        listing.sort_by("size")
        assert listing.ids == ["b", "a", "c"]


def test_new_figures_move_no_row_until_sorted_anew(listing):
    listing.sort_by("size")
    listing.update({**ROWS, "b": {"name": "db-1", "size": 99}}, {"b"})
    assert listing.ids == ["b", "c", "a"]
    listing.resort()
    assert listing.ids == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("descending", "ids"), [(False, ["b", "a", "d", "c"]), (True, ["c", "d", "a", "b"])]
)
def test_a_new_row_enters_at_its_place(listing, descending, ids):
    if descending:
        listing.sort_by("name")
    listing.update({**ROWS, "d": {"name": "web-1b", "size": 0}}, {"d"})
    assert listing.ids == ids


def test_a_gone_row_leaves(listing):
    rows = {key: row for key, row in ROWS.items() if key != "a"}
    listing.update(rows, {"a"})
    assert listing.ids == ["b", "c"]


def test_only_what_changed_is_looked_at(listing):
    listing.update({**ROWS, "d": {"name": "x", "size": 0}}, {"a"})
    assert "d" not in listing.ids


def test_a_filter_applies_to_rows_that_come_later(listing):
    listing.filter_by("web")
    assert listing.ids == ["a", "c"]
    later = {"d": {"name": "web-3", "size": 0}, "e": {"name": "db-2", "size": 0}}
    listing.update({**ROWS, **later}, set(later))
    assert listing.ids == ["a", "c", "d"]


def test_a_row_that_stops_matching_stays_until_filtered_anew(listing):
    listing.filter_by("web")
    listing.update({**ROWS, "a": {"name": "moved", "size": 3}}, {"a"})
    assert listing.ids == ["a", "c"]
    listing.resort()
    assert listing.ids == ["c"]


@pytest.mark.parametrize(
    ("text", "row", "passes"),
    [
        ("", "anything", True),
        ("WEB", "web-1 kvm-01", True),
        ("!web", "web-1 kvm-01", False),
        ("!", "web-1", True),
        ("web-[12]$", "web-2", True),
        ("web-[12]$", "web-3", False),
        ("[red", "a server called [red]x", True),
        ("a{99999999999}", "a{99999999999}", True),
        ("a.b", "axb", True),
    ],
)
def test_what_a_filter_lets_through(text, row, passes):
    assert Filter(text).matches(row) is passes


def keys_of(columns, width):
    return [(column.key, size) for column, size in fit(columns, width)]


def widths_of(columns, width, contents):
    """Widths after what is free was handed over, by key; contents are cells shown and in full."""
    cells = {key: Content(*each) for key, each in contents.items()}
    widths = {column.key: size for column, size in hand_over(fit(columns, width), cells)}
    assert sum(widths.values()) == sum(size for _, size in fit(columns, width))
    return widths


def test_columns_of_the_highest_rank_are_left_out_first():
    columns = [make_column("a", 10), make_column("b", 10, rank=1), make_column("c", 10, rank=2)]
    assert keys_of(columns, 32) == [("a", 10), ("b", 10), ("c", 10)]
    assert keys_of(columns, 31) == [("a", 10), ("b", 10)]
    assert keys_of(columns, 5) == [("a", 10)]


def test_spare_cells_go_to_columns_with_flex_up_to_their_bound():
    columns = [
        make_column("a", 4, flex=1, most=6),
        make_column("b", 4, flex=1),
        make_column("c", 4),
    ]
    assert keys_of(columns, 24) == [("a", 6), ("b", 12), ("c", 4)]


def test_what_content_leaves_free_goes_to_columns_whose_content_is_cut():
    columns = [
        make_column("a", 4, flex=2, most=20),
        make_column("b", 4, flex=1, most=20),
        make_column("c", 4, flex=3),
        make_column("d", 4),
    ]
    even = dict(keys_of(columns, 50))
    assert even == {"a": 14, "b": 14, "c": 15, "d": 4}

    def widths(**contents: int) -> dict[str, int]:
        return widths_of(columns, 50, {key: (size, size) for key, size in contents.items()})

    assert widths(a=0, b=0, c=0) == widths(a=14, b=14, c=15) == even, "nothing is cut"
    assert widths(a=5, b=17, c=3) == {"a": 13, "b": 17, "c": 13, "d": 4}, "only what is needed"
    assert widths(a=5, b=30, c=3) == {"a": 12, "b": 20, "c": 11, "d": 4}, "up to its bound"
    assert widths(a=5, b=2, c=90) == {"a": 5, "b": 4, "c": 34, "d": 4}
    assert widths(a=5, b=2, c=20) == widths(a=5, b=2, c=90), "text without a bound grows on"


def test_longer_forms_get_only_what_nothing_cut_needs():
    columns = [make_column(key, 4, flex=1, most=30) for key in "abc"]
    assert keys_of(columns, 44) == [("a", 14), ("b", 14), ("c", 14)]
    cut, free = (24, 24), (4, 4)
    assert widths_of(columns, 44, {"a": cut, "b": (8, 19), "c": free}) == {"a": 24, "b": 14, "c": 4}
    assert widths_of(columns, 44, {"a": (14, 14), "b": (8, 19), "c": free})["b"] == 19
    assert widths_of(columns, 44, {"a": (30, 30), "b": (8, 19), "c": free})["b"] == 8, (
        "a short form keeps its cells, and gives the blanks beside it"
    )


def test_a_column_of_numbers_keeps_room_for_another_digit():
    columns = [make_column("a", 4, flex=1, most=30), make_column("n", 4, flex=1, right=True)]
    assert keys_of(columns, 29) == [("a", 14), ("n", 14)]
    nine = widths_of(columns, 29, {"a": (30, 30), "n": (9, 9)})
    assert nine["a"] > 14
    assert nine["n"] > 9
