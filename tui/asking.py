"""The dialogs that stand before acts."""

from typing import Any

from textual.screen import ModalScreen

from tui.acts import Act, ChoiceAct, TypedAct
from tui.desk import Desk
from tui.screens.choice import ChoiceDialog
from tui.screens.dialog import Question
from tui.screens.entry import Entry
from tui.screens.move import ColdDialog, LiveDialog, MoveDialog
from tui.screens.rescue import RescueDialog
from tui.screens.settle import SettleDialog
from tui.views import plan, settling


def dialog_before(desk: Desk, wanted: Act | TypedAct | ChoiceAct) -> ModalScreen[Any]:
    """What has to be answered first: a question gives yes or no, the others give the act."""
    if isinstance(wanted, TypedAct):
        return Entry(
            desk,
            wanted.title,
            wanted.label,
            read=wanted.read,
            text=wanted.text,
            facts=wanted.facts,
        )
    if isinstance(wanted, ChoiceAct):
        return ChoiceDialog(desk, wanted)
    return Question(desk, wanted.question, facts=wanted.facts)


def move_dialog(desk: Desk, server_id: str) -> MoveDialog | str:
    """The dialog before a move of the kind that the server's state allows, or why there is none."""
    server = desk.store.servers.get(server_id)
    if server is None:
        return f"{server_id} is no server any more"
    host = desk.store.hosts.get(server.host_id)
    kind = plan.kind_for(server, host)
    if kind is None:
        return plan.why_no_move(server)
    if kind == "rescue" and host is not None:
        return RescueDialog(desk, server, host)
    return (LiveDialog if kind == "live" else ColdDialog)(desk, server)


def settle_dialog(desk: Desk, server_id: str) -> SettleDialog | str:
    """The dialog that asks which copy of a server stays, or why there is nothing to ask."""
    server = desk.store.servers.get(server_id)
    if server is None:
        return f"{server_id} is no server any more"
    moves = desk.store.migrations_of(server_id)
    if not settling.in_doubt(server, moves[0] if moves else None):
        return f"{server.name} is {server.status}: there is nothing to settle"
    return SettleDialog(desk, server)
