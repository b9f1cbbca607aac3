"""A lab of six hosts, in which also the kernel and the CPU's features differ."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from lab.fleet import Lab
from lab.server import ServerSpec


@pytest.fixture(scope="module")
def six_hosts_lab(in_turn: Callable[[], AbstractContextManager[None]]) -> Iterator[Lab]:
    lab = Lab(f"test-{os.getpid()}-6")
    try:
        with in_turn():
            lab.up(host_count=6, server_count=0)
            lab.wait_until_ready()
        yield lab
    finally:
        if lab.folders.root.exists():
            lab.down()


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
