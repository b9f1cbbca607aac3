"""What an operator risks who lifts a check."""

from backend.scheduler.move import HostState, Move
from wire.fleet import FilterVerdict

_LABELS = {"cpu_model": "CPU model", "microcode": "microcode"}


def risk(move: Move, host: HostState, skipped: tuple[FilterVerdict, ...]) -> str:
    """Say in one sentence what the skipped verdicts risk; empty if none would have refused."""
    by_filter = {verdict.filter: verdict for verdict in skipped}
    kernel = by_filter.pop("kernel", None)
    told = [_cpu(move, host, by_filter)] if by_filter else []
    if kernel is not None:
        told.append(
            f"{kernel.reason}: nothing compares what their KVMs offer, so a difference would show "
            f"only when {move.server.name} arrives"
        )
    return "; ".join(told)


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
    differing = [_LABELS[key] for key in _LABELS if key in skipped]
    differs = f"although the {' and '.join(differing)} {'differ' if differing[1:] else 'differs'}"
    if host.cpu is None and move.server.cpu_xml:
        return f"nobody asked {there} whether its CPU offers what {name} was started with"
    if host.cpu is None:
        return (
            f"{name} was started with its emulator's default CPU, which {there} offers too, so "
            f"that the move is safe {differs}"
        )
    return (
        f"libvirt says that the CPU of {there} offers all that {name} was started with, so that "
        f"the move is safe {differs}"
    )
