"""A lab of real hosts for the tests that need one: ``lab``, and ``add_server`` in it."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.fleet import Lab
from lab.localpool import is_limited
from lab.node import init_process
from lab.registry import all_resources
from lab.server import ServerSpec
from lab.state import LinkLimit

HOST_COUNT = 4
_OWN_NAME = re.compile(r"test-(\d+)(-\d+)?")


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    """One lab for the whole run, whose name carries this run's pid."""
    for other in all_resources():
        named = _OWN_NAME.fullmatch(other.name)
        if named and not Path(f"/proc/{named[1]}").exists():
            Lab(other.name).down()
    lab = Lab(f"test-{os.getpid()}")
    try:
        lab.up(host_count=HOST_COUNT, server_count=0)
        lab.wait_until_ready()
        yield lab
    finally:
        if lab.folders.root.exists():
            lab.down()


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    """The lab; afterwards every host is on and connected, its link whole, its local pool free."""
    yield running_lab
    state = running_lab.state
    disturbed = False
    for host in state.hosts:
        if init_process(host) is None:
            running_lab.power_on(host.name)
            disturbed = True
        if host.partitioned:
            running_lab.heal(host.name)
            disturbed = True
        if host.limit != LinkLimit():
            running_lab.limit_link(host.name, LinkLimit())
        if is_limited(running_lab.folders, host.name):
            running_lab.limit_pool(host.name, None)
    if disturbed:
        running_lab.wait_until_ready()


_numbers = itertools.count(1)


@pytest.fixture
def add_server(lab: Lab) -> Iterator[Callable[..., ServerSpec]]:
    """Add a server to the lab: fields of ``ServerSpec``, ``name`` and ``host`` if not given.

    It is removed with all that belongs to it when the test ends.
    """
    made: list[str] = []

    def add(**fields: object) -> ServerSpec:
        given = {"name": f"guest-{next(_numbers)}", "host": "kvm-01", **fields}
        spec = ServerSpec(**given)  # type: ignore[arg-type]  # the test's own fields
        lab.add_server(spec)
        made.append(spec.name)
        return spec

    yield add
    for host in lab.state.hosts:
        if init_process(host) is None:
            lab.power_on(host.name)
    lab.wait_until_ready()
    for name in made:
        lab.remove_server(name)
