"""Columns of a table as rows come, change and leave: nothing moves without need."""

from collections.abc import Sequence
from dataclasses import replace

from textual.app import ComposeResult

from tui.appearance import Appearance
from tui.listing import Column, Listing
from tui.paint import Span, plain
from tui.widgets.table import Table

Row = dict[str, str]


def column(key: str, width: int, **options: int) -> Column[Row]:
    return Column(
        key=key,
        title=key.upper(),
        width=width,
        cell=lambda row, _: Span(row[key]),
        order=lambda row: row[key],
        **options,
    )


def moment(row: Row, width: int) -> Span:
    """The date only where there is room, as a column of moments does it."""
    return Span("2026-11-23 05:17:02" if width >= 19 else "05:17:02")


def drawing(row: Row, width: int) -> Span:
    """As much of a bar as there is room for."""
    return Span("=" * (width * 3 // 4))


COLUMNS = [column("name", 6, flex=1, most=20), column("why", 6, flex=1), column("end", 4)]


class Shown(Appearance):
    """One table, and nothing else."""

    def __init__(self, columns: Sequence[Column[Row]] = COLUMNS) -> None:
        super().__init__()
        self.columns = columns

    def compose(self) -> ComposeResult:
        yield Table(Listing(self.columns), id="table")

    def put(self, **whys: str) -> tuple[int, int]:
        """Give it these rows by name; where the second and the third column begin then."""
        table = self.query_one(Table)
        table.take({name: {"name": name, "why": why, "end": "."} for name, why in whys.items()})
        return self.begins

    @property
    def begins(self) -> tuple[int, int]:
        header = plain(self.query_one(Table).lines[0])
        return header.index("WHY"), header.index("END")


async def test_columns_move_once_content_is_cut_and_then_stay():
    app = Shown()
    async with app.run_test(size=(40, 10)) as pilot:
        spread = app.put()
        assert app.put(web="short") == spread, "all is in sight already"
        moved = app.put(web="a reason that is longer than half")
        assert moved[0] < spread[0]
        assert moved[1] == spread[1]
        assert app.put(web="a reason that is longer than half, and grows") == moved
        assert app.put(web="short") == moved, "nothing goes back under the cursor"
        assert app.put(database="short")[0] == len("database") + 1, "a longer name needs more"
        assert app.put(web="short")[0] == len("database") + 1
        await pilot.resize_terminal(41, 10)
        await pilot.pause()
        assert app.begins[0] > spread[0] - 1, "with another width all is set anew"


async def test_painted_while_hidden_no_row_is_looked_at_and_no_column_moves():
    app = Shown()
    async with app.run_test(size=(40, 10)) as pilot:
        table = app.query_one(Table)
        why = "a reason that is longer than half"
        app.put(database=why, web=why)
        fitted = app.put(web=why, mail=why)
        table.display = False
        await pilot.pause()
        rows = table.listing.rows
        table.listing.rows = {row_id: {} for row_id in rows}  # whoever looks at a cell fails
        table.paint()
        table.listing.rows = rows
        table.paint()
        table.display = True
        await pilot.pause()
        assert app.begins == fitted, "what was seen before still counts"


async def test_a_moment_without_its_date_makes_room_for_a_name_that_is_cut():
    why = replace(column("why", 8, flex=4, most=19), cell=moment)
    app = Shown([column("name", 8, flex=2, most=40), why, column("end", 4)])
    async with app.run_test(size=(32, 10)):
        short = app.put(web="")
        longer = "a-name-of-15-c."
        assert short[0] <= len(longer)
        assert app.put(**{longer: ""}) == (len(longer) + 1, short[1]), "as much as it needs"


async def test_a_drawing_is_not_made_smaller_for_a_name():
    why = replace(column("why", 8, flex=4, most=40), cell=drawing, draws=True)
    app = Shown([column("name", 8, flex=2, most=40), why, column("end", 4)])
    async with app.run_test(size=(32, 10)):
        spread = app.put()
        assert app.put(**{"a-name-of-15-c.": ""}) == spread


async def test_a_number_that_grows_by_a_digit_moves_no_column():
    why = column("why", 6, flex=1, most=16, right=True)
    app = Shown([why, column("name", 6, flex=1, most=40), column("end", 4)])
    async with app.run_test(size=(40, 10)):
        name = "a-name-that-is-cut-all-the-same"
        spread = app.put()
        handed = app.put(**{name: "9 min 59 s"})
        assert handed[0] < spread[0], "what is free is handed over"
        assert app.put(**{name: "10 min 00 s"}) == handed
