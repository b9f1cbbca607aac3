"""What is asked in the query of an address, beside its path."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from wire.errors import bad_request
from wire.migration import MigrationKind, MigrationOptions


class Query(Protocol):
    """The parameters of a request; a name may come several times."""

    def multi_items(self) -> Iterable[tuple[str, str]]:
        """Each name with each of its values."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which migration the candidates are asked for."""

    kind: MigrationKind = "live"
    options: MigrationOptions = MigrationOptions()


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_KINDS: dict[str, MigrationKind] = {"live": "live", "cold": "cold", "rescue": "rescue"}
_SKIPS = ("skip_cpu_check", "skip_kernel_check")


def question(query: Query) -> Question:
    """Read ``kind``, ``skip_cpu_check`` and ``skip_kernel_check``.

    Raises:
        GodwitError: BAD_REQUEST for another parameter, or a value that cannot be meant.
    """
    kind: MigrationKind = "live"
    skips: dict[str, bool] = {}
    for name, value in query.multi_items():
        if name in _SKIPS:
            if value.lower() not in _BOOLEANS:
                raise bad_request(f"{name} is {value!r}, and must be true or false")
            skips[name] = _BOOLEANS[value.lower()]
        elif name != "kind":
            raise bad_request(
                f"no parameter is called {name!r}; there are kind, {' and '.join(_SKIPS)}"
            )
        elif value in _KINDS:
            kind = _KINDS[value]
        else:
            raise bad_request(f"kind is {value!r}, and must be live, cold or rescue")
    if kind != "live" and any(skips.values()):
        name = next(one for one, given in skips.items() if given)
        raise bad_request(
            f"{name} is true, and only a live migration has it: a {kind} one starts anew"
        )
    cpu, kernel = (skips.get(name, False) for name in _SKIPS)
    return Question(
        kind=kind, options=MigrationOptions(skip_cpu_check=cpu, skip_kernel_check=kernel)
    )
