"""The command line on a lab of six hosts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.fleet import Lab
from lab.server import ServerSpec


@pytest.fixture
def six_hosts(
    six_hosts_lab: Lab, make_fleet: Callable[[Lab, Callable[..., ServerSpec]], Any]
) -> Iterator[Any]:
    """As ``fleet``; kvm-05 has another kernel, and the CPU of kvm-06 lacks a feature."""
    made: list[str] = []

    def add(**fields: Any) -> ServerSpec:
        spec = ServerSpec(name=f"guest-{len(made) + 1}", **fields)
        six_hosts_lab.add_server(spec)
        made.append(spec.name)
        return spec

    yield make_fleet(six_hosts_lab, add)
    for name in made:
        six_hosts_lab.remove_server(name)
