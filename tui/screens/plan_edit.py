"""The dialog that changes target and options of one server of a plan."""

from typing import ClassVar

import msgspec
from textual.binding import BindingType

from tui.desk import Desk
from tui.draft import deviating
from tui.listing import Column
from tui.paint import Line, Span, Tone, line
from tui.places import Place
from tui.screens.frame import keys
from tui.screens.targets import TargetDialog
from tui.views import candidates
from wire.evacuation import PlanEdit, PlannedMove, Way
from wire.fleet import ServerView


class PlanEditDialog(TargetDialog[PlanEdit]):
    """Ends with what is wished for otherwise, or with None; nothing is asked of the backend here.

    The first row leaves the target to the plan.
    """

    def __init__(self, desk: Desk, server: ServerView, move: PlannedMove) -> None:
        super().__init__(desk, server, msgspec.structs.replace(move.options, prefer_host=""))
        self._move = move
        self._usual = self._options
        self._placed = False

    def _columns(self) -> list[Column[candidates.Target]]:
        return candidates.columns(self.desk.glyphs, best="as the plan likes")

    def _targets_shown(self) -> None:
        """At first the cursor is on the target that was chosen, if one was."""
        if self._move.pinned and not self._placed:
            self._table.put_cursor(self._move.target_host_id)
        self._placed = True

    def _intention(self) -> Line:
        to = f" to {self._move.target_host_name}" if self._move.target_host_name else " nowhere"
        return line(
            Span(" Plan ", Tone.TAB),
            Span(f"  {self._move.server_name}", Tone.TITLE),
            f" goes{to} now. Where to instead?",
        )

    def _chosen(self, target: candidates.Target) -> None:
        chosen = None if target.chosen_by_scheduler else target.candidate
        stays = self._move.way is Way.STAYS
        self.dismiss(
            PlanEdit(
                server=self._move.server_id,
                target=chosen.host_id if chosen else "",
                way=Way(self.kind) if stays else None,
                options=deviating(self._usual, self._options),
            )
        )


class PlanLiveDialog(PlanEditDialog):
    """Of a server that runs."""

    kind = "live"
    place = Place.PLAN_LIVE
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.PLAN_LIVE)


class PlanColdDialog(PlanEditDialog):
    """Of one that does not."""

    kind = "cold"
    place = Place.PLAN_COLD
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.PLAN_COLD)


class PlanRescueDialog(PlanEditDialog):
    """Of one whose host is dead."""

    kind = "rescue"
    place = Place.PLAN_COLD
    BINDINGS: ClassVar[list[BindingType]] = keys(Place.PLAN_COLD)


def edit_dialog(desk: Desk, server: ServerView, move: PlannedMove, kind: str) -> PlanEditDialog:
    """Choose the dialog for the kind of move that a server's state allows."""
    dialogs: dict[str, type[PlanEditDialog]] = {
        "live": PlanLiveDialog,
        "cold": PlanColdDialog,
        "rescue": PlanRescueDialog,
    }
    return dialogs[kind](desk, server, move)
