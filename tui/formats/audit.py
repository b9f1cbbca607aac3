"""An entry of the audit in words, for the command line and the console alike."""

from tui.formats.units import moment_text, rate_text
from wire.audit import AuditEntry, Parameter

_RATE = "_bytes_per_s"
_PAUSE = "_ms"
_MOMENTS = {"empty_by_ms"}


def objects_text(entry: AuditEntry) -> str:
    """What an act was about by name; empty for the whole fleet."""
    return ", ".join(each.name for each in entry.objects)


def parameters_text(entry: AuditEntry) -> str:
    """``prefer host: kvm-02, max bandwidth: 100 MiB/s``; empty for none."""
    return ", ".join(f"{name}: {value}" for name, value in parameter_words(entry))


def parameter_words(entry: AuditEntry) -> list[tuple[str, str]]:
    """Each parameter by its name and value as people write them, in the order given."""
    return [_words(name, value) for name, value in entry.parameters.items()]


def _words(name: str, value: Parameter) -> tuple[str, str]:
    if isinstance(value, bool):
        return _name(name), "yes" if value else "no"
    if isinstance(value, str):
        return _name(name), value
    if name in _MOMENTS:
        return _name(name.removesuffix(_PAUSE)), moment_text(value) if value else "none"
    if name.endswith(_RATE):
        return _name(name.removesuffix(_RATE)), rate_text(value)
    if name.endswith(_PAUSE):
        return _name(name.removesuffix(_PAUSE)), f"{value} ms"
    return _name(name), str(value)


def _name(field: str) -> str:
    return field.replace("_", " ")
