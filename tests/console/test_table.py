"""Columns of a table as rows come, change and leave: nothing moves without need."""

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


COLUMNS = [column("name", 6, flex=1, most=20), column("why", 6, flex=1), column("end", 4)]


class Shown(Appearance):
    """One table, and nothing else."""

    def compose(self) -> ComposeResult:
        yield Table(Listing(COLUMNS), id="table")

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
