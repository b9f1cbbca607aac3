"""The Audit view: who did what, to what, and when."""

from tui.formats.audit import objects_text, parameter_words, parameters_text
from tui.formats.units import moment_text
from tui.listing import Column, natural
from tui.paint import Line, Span, Tone, labelled, line
from wire.audit import AuditEntry

COLUMNS: tuple[Column[AuditEntry], ...] = (
    Column(
        key="time",
        title="TIME",
        width=11,
        flex=1,
        most=19,
        cell=lambda each, width: Span(moment_text(each.at_ms, brief=width < 19)),
        order=lambda each: each.at_ms,
    ),
    Column(
        key="user",
        title="USER",
        width=8,
        flex=1,
        most=12,
        cell=lambda each, _: Span(each.user, Tone.STRONG),
        order=lambda each: natural(each.user),
    ),
    Column(
        key="verb",
        title="VERB",
        width=30,
        cell=lambda each, _: Span(each.verb),
        order=lambda each: each.verb,
    ),
    Column(
        key="object",
        title="OBJECT",
        width=9,
        flex=1,
        most=20,
        cell=lambda each, _: Span(objects_text(each) or "-"),
        order=lambda each: natural(objects_text(each)),
    ),
    Column(
        key="parameters",
        title="PARAMETERS",
        width=16,
        flex=10,
        cell=lambda each, _: Span(parameters_text(each) or "-"),
        order=parameters_text,
    ),
)
"""The table's columns."""


def details(entry: AuditEntry, width: int) -> list[Line]:
    """One act in full."""
    title = line(Span(entry.verb, Tone.TITLE), f"  {objects_text(entry)}")
    fields = [
        ("when", moment_text(entry.at_ms)),
        ("who", f"{entry.user} ({entry.role})"),
        *((each.kind, f"{each.name}  {each.object_id}") for each in entry.objects),
        *parameter_words(entry),
    ]
    longest = max(len(label) for label, _ in fields)
    spans = [(label, Span(text)) for label, text in fields]
    return [title, *labelled(spans, width, label_width=longest + 2)]
