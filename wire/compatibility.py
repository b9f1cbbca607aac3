"""climc's strict rule: whether two hosts' CPU, microcode and kernel are equal, with both values."""

import msgspec

from wire.fleet import HostFacts


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One fact in which two hosts differ."""

    field: str
    """``cpu_architecture``, ``cpu_model``, ``microcode``, ``kernel`` or ``page_size``."""
    label: str
    """The same for people: ``CPU model``."""
    here: str
    there: str


_COMPARED: tuple[tuple[str, str, str], ...] = (
    ("cpu_architecture", "CPU architecture", "cpu_architecture"),
    ("cpu_model", "CPU model", "cpu_model_name"),
    ("microcode", "microcode", "microcode"),
    ("kernel", "kernel", "kernel"),
    ("page_size", "page size", "page_size_bytes"),
)


def value_of(facts: HostFacts, field: str) -> str:
    """What one host has of a fact that is compared."""
    return next(str(getattr(facts, attribute)) for name, _, attribute in _COMPARED if name == field)


def differences(here: HostFacts, there: HostFacts) -> tuple[Difference, ...]:
    """Say in which facts two hosts differ, in the order in which the rule compares them.

    Source of the rule: the climc guide (model and microcode) and Cloudpods' migrate predicate
    (kernel, page size, architecture).
    """
    found = []
    for field, label, attribute in _COMPARED:
        one, other = str(getattr(here, attribute)), str(getattr(there, attribute))
        if one != other:
            found.append(Difference(field=field, label=label, here=one, there=other))
    return tuple(found)
