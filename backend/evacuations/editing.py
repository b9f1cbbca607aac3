"""What a person wants otherwise of single servers: whether it can be met, and how it is noted."""

from collections.abc import Iterable, Sequence

from backend.evacuations.steps import line_of
from backend.fleet.known import Fleet
from backend.fleet.names import find_host
from wire.errors import bad_request
from wire.evacuation import EvacuatedServer, Evacuation, MoveOptions, PlanEdit, Way

_SWITCHES = {
    "enable_tls": "TLS",
    "quickly_finish": "quickly finish",
    "skip_cpu_check": "skip of the CPU check",
    "skip_kernel_check": "skip of the kernel check",
}
_PAUSES = {"downtime_limit_ms": "downtime limit", "downtime_bound_ms": "downtime bound"}
_WAYS = {Way.STAYS: "stays", Way.RESCUE: "is rescued"}


def check_met(fleet: Fleet, fresh: Evacuation, edits: Iterable[PlanEdit]) -> None:
    """Refuse edits of which one asks for a move that the new plan does not have.

    Who only takes a wish back, or wants a server to stay, asks for no move.

    Args:
        fleet: hosts by name.
        fresh: planned anew with these edits.
        edits: what a person asked for.

    Raises:
        GodwitError: BAD_REQUEST, with the reason of each that cannot be met.
    """
    asked = [one for one in edits if _asks_for_a_move(one)]
    _refuse([_unmet(fleet, line_of(fresh, one.server), one.target or "") for one in asked])


def check_retried(fleet: Fleet, fresh: Evacuation, servers: Iterable[str]) -> None:
    """Refuse to try servers again of which one stays all the same.

    Args:
        fleet: hosts by name.
        fresh: planned anew with these servers among those that wait.
        servers: names or ids that a person gave.

    Raises:
        GodwitError: BAD_REQUEST, with the reason of each that stays.
    """
    _refuse([_unmet(fleet, line_of(fresh, one)) for one in servers])


def edit_text(fleet: Fleet, known: Evacuation, edit: PlanEdit) -> str:
    """One edit as it is noted: ``db-1: target kvm-03, quickly finish``."""
    words = []
    if edit.target is not None:
        name = find_host(fleet, edit.target).name if edit.target else ""
        words.append(f"target {name}" if name else "any target")
    if edit.way is not None:
        words.append(_WAYS.get(edit.way, f"goes {edit.way}"))
    if edit.first is not None:
        words.append("first" if edit.first else "not first")
    words += _option_words(edit.options or MoveOptions())
    name = line_of(known, edit.server).plan.server_name
    return f"{name}: {', '.join(words) or 'planned anew'}"


def _asks_for_a_move(edit: PlanEdit) -> bool:
    if edit.way is Way.STAYS:
        return False
    options = edit.options or MoveOptions()
    return bool(edit.target or edit.way or edit.first or options != MoveOptions())


def _unmet(fleet: Fleet, server: EvacuatedServer, target: str = "") -> str:
    plan = server.plan
    if plan.way is not Way.STAYS:
        return ""
    if target:
        return f"{plan.server_name} cannot go to {find_host(fleet, target).name}: {plan.why}"
    return f"{plan.server_name} stays all the same: {plan.why}"


def _refuse(unmet: Sequence[str]) -> None:
    told = list(dict.fromkeys(one for one in unmet if one))
    if told:
        raise bad_request(f"{'; '.join(told)}; nothing was changed")


def _option_words(options: MoveOptions) -> list[str]:
    said = {name: getattr(options, name) for name in options.__struct_fields__}
    switched = [
        word if said[name] else f"no {word}"
        for name, word in _SWITCHES.items()
        if said[name] is not None
    ]
    pauses = [f"{word} {said[name]} ms" for name, word in _PAUSES.items() if said[name] is not None]
    return [*switched, *pauses]
