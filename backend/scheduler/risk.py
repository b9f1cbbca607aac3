"""What an operator risks who lifts a check, or why nothing."""

from backend.scheduler.move import HostState, Move
from wire.candidates import FilterVerdict

_LABELS = {"cpu_model": "CPU model", "microcode": "microcode"}


def weighed(move: Move, host: HostState, skipped: tuple[FilterVerdict, ...]) -> tuple[str, str]:
    """Say what the skipped verdicts risk, and which of them are safe: a sentence each, or nothing.

    Args:
        move: the server that should move.
        host: where to.
        skipped: verdicts that would have refused it.
    """
    by_filter = {verdict.filter: verdict for verdict in skipped}
    kernel = by_filter.pop("kernel", None)
    safe = _safe(move, host, by_filter) if by_filter else ""
    risks = [_cpu(move, host, by_filter)] if by_filter and not safe else []
    if kernel is not None:
        risks.append(
            f"{kernel.reason}: nothing compares what their KVMs offer, so a difference would show "
            f"only when {move.server.name} arrives"
        )
    return "; ".join(risks), safe


def _safe(move: Move, host: HostState, skipped: dict[str, FilterVerdict]) -> str:
    """Why it does not matter that CPU model or microcode differ; empty if it may."""
    name, there = move.server.name, host.facts.name
    differing = [_LABELS[key] for key in _LABELS if key in skipped]
    differs = f"although the {' and '.join(differing)} {'differ' if differing[1:] else 'differs'}"
    if "cpu_features" in skipped or (host.cpu is not None and host.cpu.missing_features):
        return ""
    if host.cpu is not None:
        return (
            f"libvirt says that the CPU of {there} offers all that {name} was started with, so "
            f"that the move is safe {differs}"
        )
    if move.server.cpu_xml:
        return ""
    return (
        f"{name} was started with its emulator's default CPU, which {there} offers too, so that "
        f"the move is safe {differs}"
    )


def _cpu(move: Move, host: HostState, skipped: dict[str, FilterVerdict]) -> str:
    name, there = move.server.name, host.facts.name
    if host.cpu is not None and host.cpu.missing_features:
        lost = ", ".join(host.cpu.missing_features)
        return (
            f"{name} would lose the CPU features {lost} on {there}: libvirt refuses it on arrival, "
            "or, where it does not look, the guest may crash when it uses them"
        )
    if "cpu_features" in skipped:
        return f"{skipped['cpu_features'].reason}, so {name} may crash there"
    return f"nobody asked {there} whether its CPU offers what {name} was started with"
