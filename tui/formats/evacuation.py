"""An evacuation in words, for the command line and the console alike."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tui.formats.units import moment_text, rate_text
from wire.evacuation import (
    EvacuatedServer,
    Evacuation,
    EvacuationKind,
    EvacuationState,
    MoveOptions,
    MoveState,
    Way,
)
from wire.forecast import Basis, LinkRate

_LEFT = {
    EvacuationKind.EVACUATE: "left",
    EvacuationKind.RESCUE: "rescued",
    EvacuationKind.RETURN: "back",
}
BASES = {
    Basis.MEASURED: "measured",
    Basis.PAST_MOVE: "from the last move",
    Basis.GUESSED: "guessed",
}
"""What a forecast rests on."""
_MOST_NAMES = 6
"""Names in one sentence; more are a number."""


def names_text(names: Sequence[str]) -> str:
    """``web-1, web-2`` or ``web-1, web-2 and 9 more``."""
    shown = names[:_MOST_NAMES]
    more = len(names) - len(shown)
    return f"{', '.join(shown)} and {more} more" if more else ", ".join(shown)


def title_of(kind: EvacuationKind, host_name: str) -> str:
    """``Evacuation of kvm-01``, ``Rescue from kvm-01`` or ``Return to kvm-01``."""
    words = {EvacuationKind.RESCUE: "Rescue from", EvacuationKind.RETURN: "Return to"}
    return f"{words.get(kind, 'Evacuation of')} {host_name}"


def state_word(kind: EvacuationKind, state: MoveState) -> str:
    """How far one server is: ``back`` or ``rescued`` where that says more than ``left``."""
    return _LEFT[kind] if state is MoveState.LEFT else str(state)


def gone_text(evacuation: Evacuation) -> str:
    """``7 of 12 gone``: "7 of 12 left" might be those that are still to go."""
    gone = sum(each.state is MoveState.LEFT for each in evacuation.servers)
    word = "gone" if evacuation.kind is EvacuationKind.EVACUATE else _LEFT[evacuation.kind]
    return f"{gone} of {len(evacuation.servers)} {word}"


def counts_text(evacuation: Evacuation) -> str:
    """``9 left, 1 moving, 2 stayed``."""
    counts = Counter(each.state for each in evacuation.servers)
    order = (MoveState.LEFT, *(each for each in MoveState if each is not MoveState.LEFT))
    told = [f"{counts[each]} {state_word(evacuation.kind, each)}" for each in order if counts[each]]
    return ", ".join(told) or "no servers"


def not_gone(evacuation: Evacuation) -> list[EvacuatedServer]:
    """Those that are not where they were to go, and that nobody wished to leave alone."""
    return [
        each
        for each in evacuation.servers
        if each.state is not MoveState.LEFT and not _left_alone(each)
    ]


def left_behind(evacuations: Iterable[Evacuation], host_id: str) -> list[EvacuatedServer]:
    """What left a host in ended evacuations and has not been brought back."""
    return [
        server
        for each in evacuations
        if each.host_id == host_id and not each.open and each.kind is not EvacuationKind.RETURN
        for server in each.servers
        if server.state is MoveState.LEFT and not server.returned
    ]


def _left_alone(server: EvacuatedServer) -> bool:
    plan = server.plan
    return server.state is MoveState.STAYED and plan.way is Way.STAYS and plan.chosen_way


def what_is_done(evacuation: Evacuation) -> str:
    """The state of an evacuation in one sentence."""
    host, kind = evacuation.host_name, evacuation.kind
    if evacuation.state is EvacuationState.PAUSED:
        return "nothing new begins, and what moves goes on to its end"
    if evacuation.state is EvacuationState.CANCELLING:
        return "nothing new begins, and what moves is being cancelled"
    if evacuation.state is EvacuationState.ENDED:
        return _end_text(evacuation)
    if kind is EvacuationKind.RETURN:
        return f"what left {host} comes back to it"
    return f"its servers {'start elsewhere' if kind is EvacuationKind.RESCUE else 'leave it'}"


def _end_text(evacuation: Evacuation) -> str:
    count = len(evacuation.servers)
    gone = sum(each.state is MoveState.LEFT for each in evacuation.servers)
    verb = (
        "have left"
        if evacuation.kind is EvacuationKind.EVACUATE
        else f"are {_LEFT[evacuation.kind]}"
    )
    return f"all {count} servers {verb}" if gone == count else f"{gone} of {count} servers {verb}"


def move_option_words(options: MoveOptions) -> list[str]:
    """List what is asked of every move in the words of the command line."""
    words = {
        "--skip-cpu-check": options.skip_cpu_check,
        "--skip-kernel-check": options.skip_kernel_check,
        "--enable-tls": options.enable_tls,
        "--quickly-finish": options.quickly_finish,
        f"--downtime-limit-ms {options.downtime_limit_ms}": options.downtime_limit_ms,
        f"--downtime-bound-ms {options.downtime_bound_ms}": options.downtime_bound_ms,
    }
    return [word for word, given in words.items() if given]


def link_text(link: LinkRate | None) -> str:
    """``47.7 MiB/s, measured 11-23 05:17, one move alone 20 MiB/s``; empty if unknown."""
    if link is None:
        return ""
    at_ms, whole = link.measured_at_ms, rate_text(link.bytes_per_s)
    said = (
        f"measured {moment_text(at_ms, brief=True)}"
        if at_ms
        else "as its card says, not measured yet"
    )
    alone = rate_text(link.stream_bytes_per_s) if link.stream_bytes_per_s else whole
    return ", ".join([whole, said, *([f"one move alone {alone}"] if alone != whole else [])])


def basis_text(bases: Sequence[Basis]) -> str:
    """``8 measured, 1 from the last move, 2 guessed``."""
    counts = Counter(bases)
    return ", ".join(f"{counts[each]} {word}" for each, word in BASES.items() if counts[each])
