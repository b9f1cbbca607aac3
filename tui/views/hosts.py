"""The Hosts view: columns, and in full how a host compares with the others."""

import re
from collections.abc import Callable, Iterable, Sequence

from tui.formats.evacuation import gone_text
from tui.formats.health import fence_text, host_word, policy_sentence
from tui.formats.units import bytes_text, moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, labelled, line, pad, wrap
from tui.text import escape_text
from tui.views.evacuation_totals import open_count
from tui.views.glyphs import Glyphs, bar, host_span
from wire.compatibility import Difference, differences
from wire.evacuation import Evacuation, EvacuationKind, EvacuationState
from wire.fleet import HostFacts, HostStatus, HostView

_SHORT = {
    "cpu_architecture": "arch",
    "cpu_model": "cpu",
    "microcode": "ucode",
    "kernel": "kernel",
    "page_size": "pages",
}
_NAMES_WIDTH = 10
"""Cells for the names of hosts beside what they differ in."""
_NOISE = re.compile(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|\b\d+-Core\b|@.*$", re.IGNORECASE)
_MAKER = re.compile(r"^(?:Intel|AMD)\s+(?=\S+)")


def cpu_name(model_name: str) -> str:
    """Shorten ``model name`` of ``/proc/cpuinfo``: ``Xeon E5-2650 v2``, ``EPYC 7763``."""
    name = " ".join(_NOISE.sub(" ", model_name).split())
    return _MAKER.sub("", name) or "-"


def compatibility(one: HostFacts | None, other: HostFacts, width: int, glyphs: Glyphs) -> Span:
    """Say in few words how a host differs from the one under the cursor."""
    if one is None:
        return Span("")
    if one.host_id == other.host_id:
        return Span("this host", Tone.DIM)
    found = differences(one, other)
    if not found:
        return Span(f"{glyphs.same} same", Tone.GOOD)
    forms = (
        ", ".join(each.label for each in found),
        " ".join(_SHORT[each.field] for each in found),
        f"{_SHORT[found[0].field]} +{len(found) - 1}",
    )
    fitting = next((each for each in forms if len(each) <= width - 2), forms[-1])
    return Span(f"{glyphs.differs} {fitting}", Tone.WARN)


def memory(host: HostView, width: int, glyphs: Glyphs) -> Span:
    """A bar of the memory in use, and the numbers."""
    total = host.facts.memory_total_bytes
    if host.meters is None or not total:
        return Span(f"no figures/{_size(total)}" if width >= 15 else f"-/{_size(total)}", Tone.DIM)
    used = host.meters.memory_used_bytes
    numbers = f"{_size(used):>4}/{_size(total)}"
    share = used / total
    tone = Tone.BAD if share >= 0.95 else Tone.WARN if share >= 0.85 else Tone.PLAIN
    room = min(width - len(numbers) - 1, 20)
    return Span(f"{bar(share, room, glyphs)} {numbers}" if room >= 3 else numbers, tone)


EvacuationOf = Callable[[HostView], Evacuation | None]


def condition(host: HostView, evacuation: Evacuation | None, glyphs: Glyphs) -> Span:
    """How a host is; of one that is well also whether it is emptied, and in maintenance."""
    left = open_count(evacuation) if evacuation is not None else 0
    health = host_span(host, glyphs)
    if host_word(host) != HostStatus.ONLINE:
        return Span(f"{health.text} {left} left", health.tone) if left else health
    if evacuation is not None:
        word = "to come" if evacuation.kind is EvacuationKind.RETURN else "to leave"
        paused = evacuation.state is not EvacuationState.RUNNING
        mark, tone = (glyphs.warn, Tone.WARN) if paused else (glyphs.busy, Tone.BUSY)
        return Span(f"{mark} {left} {word}", tone)
    if host.policy.maintenance:
        return Span(f"{glyphs.off} maintenance", Tone.WARN)
    return health


def columns(
    glyphs: Glyphs,
    *,
    under_cursor: Callable[[], HostFacts | None],
    evacuation_of: EvacuationOf,
    is_marked: Callable[[str], bool],
) -> list[Column[HostView]]:
    """The table's columns.

    Args:
        glyphs: the marks.
        under_cursor: gives the host that the last column compares with.
        evacuation_of: gives the evacuation that is open about a host.
        is_marked: whether a host is marked, by its id.
    """
    return [
        Column(
            key="name",
            title="NAME",
            width=9,
            flex=2,
            most=28,
            cell=lambda host, width: _name(host, width, marked=is_marked(host.facts.host_id)),
            order=lambda host: natural(host.facts.name),
        ),
        Column(
            key="health",
            title="HEALTH",
            width=13,
            cell=lambda host, _: condition(host, evacuation_of(host), glyphs),
            order=lambda host: (host_word(host), condition(host, evacuation_of(host), glyphs).text),
        ),
        Column(
            key="cpu",
            title="CPU",
            width=15,
            flex=2,
            most=30,
            cell=lambda host, _: Span(cpu_name(host.facts.cpu_model_name)),
            order=lambda host: cpu_name(host.facts.cpu_model_name),
        ),
        Column(
            key="microcode",
            title="MICROCODE",
            width=9,
            flex=1,
            most=12,
            rank=3,
            cell=lambda host, _: Span(host.facts.microcode or "-"),
            order=lambda host: host.facts.microcode,
        ),
        Column(
            key="kernel",
            title="KERNEL",
            width=15,
            flex=1,
            most=26,
            rank=4,
            cell=lambda host, _: Span(host.facts.kernel),
            order=lambda host: natural(host.facts.kernel),
        ),
        Column(
            key="memory",
            title="MEMORY",
            width=12,
            flex=2,
            most=32,
            rank=1,
            cell=lambda host, width: memory(host, width, glyphs),
            order=lambda host: host.meters.memory_used_bytes if host.meters else -1,
            searched=False,
        ),
        Column(
            key="servers",
            title="SRV",
            width=4,
            rank=2,
            cell=lambda host, _: Span(_servers(host)),
            order=lambda host: host.server_count,
            right=True,
            searched=False,
        ),
        Column(
            key="compatible",
            title="COMPARED",
            width=12,
            flex=3,
            most=44,
            cell=lambda host, width: compatibility(under_cursor(), host.facts, width, glyphs),
            order=lambda host: natural(host.facts.name),
            searched=False,
        ),
    ]


def _name(host: HostView, width: int, *, marked: bool) -> Span:
    """The name, with a star at the right edge of its column if it is marked."""
    name = escape_text(host.facts.name)
    return Span(f"{pad(name, width - 2)} *" if marked else name, Tone.STRONG)


def _servers(host: HostView) -> str:
    """Running of all; nobody knows what runs on a host that is not online."""
    running = host.running_server_count if host.status is HostStatus.ONLINE else "?"
    return f"{running}/{host.server_count}"


def details(
    host: HostView,
    hosts: Iterable[HostView],
    width: int,
    glyphs: Glyphs,
    evacuation: Evacuation | None = None,
) -> list[Line]:
    """Everything about one host, and how every other one differs from it."""
    facts = host.facts
    lines = [
        line(Span(facts.name, Tone.TITLE), "  ", host_span(host, glyphs), *_policy(host)),
        *(wrap(host.status_reason, width, Tone.WARN) if host.status_reason else []),
    ]
    if evacuation is not None:
        told = f"{evacuation.kind} {evacuation.state}, {gone_text(evacuation)}: E shows it"
        lines += wrap(told, width, Tone.BUSY)
    lines += _comparison(facts, [each.facts for each in hosts], width, glyphs)
    lines += [(), *_figures(host, width)]
    return lines


def _policy(host: HostView) -> Sequence[Span]:
    return [Span("  in maintenance", Tone.WARN)] if host.policy.maintenance else []


def _comparison(
    here: HostFacts, others: Sequence[HostFacts], width: int, glyphs: Glyphs
) -> list[Line]:
    """Hosts that are the same first; those that differ in the same way stand together."""
    groups: dict[tuple[Difference, ...], list[str]] = {}
    for other in sorted(others, key=lambda each: natural(each.name)):
        if other.host_id != here.host_id:
            groups.setdefault(differences(here, other), []).append(other.name)
    lines: list[Line] = []
    for found, names in sorted(groups.items(), key=lambda group: len(group[0])):
        if found:
            lines += _differing(found, ", ".join(names), width, glyphs)
        else:
            text = f"{glyphs.same} same CPU, microcode, kernel: {', '.join(names)}"
            lines += wrap(text, width)
    return lines


def _differing(found: Sequence[Difference], names: str, width: int, glyphs: Glyphs) -> list[Line]:
    """One line for each difference, beside the names if they are short, else under them."""
    beside = len(names) <= _NAMES_WIDTH
    lines = [] if beside else wrap(f"{glyphs.differs} {names}", width)
    for number, each in enumerate(found):
        short = cpu_name if each.field == "cpu_model" else str
        values = f"{short(each.here)} here, {short(each.there)} there"
        head = f"{glyphs.differs} {names}" if beside and not number else ""
        text = f"{pad(head, _NAMES_WIDTH + 3)}{pad(each.label, 10)}{values}"
        lines.append(line(Span(text)))
    return lines


def _figures(host: HostView, width: int) -> list[Line]:
    facts = host.facts
    features = ", ".join(facts.cpu_features) or "none beyond the model"
    fields = [
        ("auto-migrate", policy_sentence(host.policy)),
        ("fence", fence_text(host.health) or "unknown while it is away"),
        ("CPU", f"{facts.cpu_model_name}, {facts.cpu_count} CPUs, {facts.cpu_architecture}"),
        ("microcode", f"{facts.microcode or '-'}, kernel {facts.kernel}"),
        ("memory", _memory_sentence(host)),
        ("address", f"{facts.address}, agent {facts.agent_version}"),
        ("versions", f"QEMU {facts.qemu_version}, libvirt {facts.libvirt_version}"),
        *[("pool", _pool(pool.name, pool.shared, pool.available_bytes)) for pool in facts.pools],
        ("features", f"{facts.libvirt_cpu_model} and: {features}"),
        ("last heard", moment_text(host.seen_at_ms)),
        ("id", facts.host_id),
    ]
    return labelled([(label, Span(value)) for label, value in fields], width, label_width=13)


def _memory_sentence(host: HostView) -> str:
    total = bytes_text(host.facts.memory_total_bytes)
    given = bytes_text(host.server_memory_bytes)
    if host.meters is None:
        return f"{total}, no figures now; {given} given to servers"
    used = bytes_text(host.meters.memory_used_bytes)
    cpu = f"CPU {host.meters.cpu_percent:.0f} %"
    return f"{used} of {total} in use, {given} given to servers; {cpu}"


def _pool(name: str, shared: bool, free_bytes: int) -> str:  # noqa: FBT001 - a fact of the pool
    kind = "shared" if shared else "local"
    return f"{name}, {kind}, {bytes_text(free_bytes)} free"


def _size(size_bytes: int) -> str:
    """``3.1G`` or ``24G``: two digits are enough beside a bar."""
    number, unit = bytes_text(size_bytes).split(" ")
    return f"{round(float(number))}{unit[0]}" if len(number) > 3 else f"{number}{unit[0]}"
