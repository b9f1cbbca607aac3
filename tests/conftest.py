"""A lab of real hosts for the tests that need one: ``lab``, ``add_server`` in it, and ``fleet``."""

import fcntl
import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.fleet import Lab
from lab.localpool import is_limited
from lab.node import init_process
from lab.readiness import operator_client
from lab.registry import all_resources
from lab.server import ServerSpec
from lab.state import LinkLimit
from tests.fleet import Fleet
from tests.memory_folder import memory_folder

if (folder := memory_folder()) is not None:
    os.environ.setdefault("GODWIT_LAB_ROOT", str(folder))

HOST_COUNT = 4
_labs_of_the_session: list[Lab] = []
_OWN_NAME = re.compile(r"test-(\d+)(-\d+)?")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real hosts take longest: they come first, and short ones fill up the end."""
    items.sort(key=lambda item: item.get_closest_marker("lab") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Whoever has come to the short ones needs its lab no more, whose programs never rest."""
    if item.get_closest_marker("lab") is None:
        while _labs_of_the_session:
            _labs_of_the_session.pop().down()


@pytest.fixture(scope="session")
def in_turn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[None]]:
    """``with in_turn():`` the other processes of this run wait, if they want the same."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    @contextmanager
    def hold() -> Iterator[None]:
        with (folder / "turn").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return hold


@contextmanager
def brought_up(
    lab: Lab, host_count: int, in_turn: Callable[[], AbstractContextManager[None]]
) -> Iterator[Lab]:
    """A lab with no servers, from its start to its end."""
    try:
        with in_turn():  # labs that start side by side would each take too long
            _end_labs_of_dead_runs()
            lab.up(host_count=host_count, server_count=0)
            lab.wait_until_ready()
        yield lab
    finally:
        if lab.folders.root.exists():
            lab.down()


@pytest.fixture(scope="session")
def running_lab(in_turn: Callable[[], AbstractContextManager[None]]) -> Iterator[Lab]:
    """One lab for all tests of this process, whose name carries its pid."""
    with brought_up(Lab(f"test-{os.getpid()}"), HOST_COUNT, in_turn) as lab:
        _labs_of_the_session.append(lab)
        yield lab


@pytest.fixture(scope="module")
def six_hosts_lab(in_turn: Callable[[], AbstractContextManager[None]]) -> Iterator[Lab]:
    """A lab of six hosts, in which also the kernel and the CPU's features differ."""
    with brought_up(Lab(f"test-{os.getpid()}-6"), 6, in_turn) as lab:
        yield lab


def _end_labs_of_dead_runs() -> None:
    for other in all_resources():
        named = _OWN_NAME.fullmatch(other.name)
        if named and not Path(f"/proc/{named[1]}").exists():
            Lab(other.name).down()


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


@pytest.fixture
def make_fleet() -> Iterator[Callable[[Lab, Callable[..., ServerSpec]], Fleet]]:
    """Puts the command line on a lab."""
    with ExitStack() as clients:

        def make(lab: Lab, add_server: Callable[..., ServerSpec]) -> Fleet:
            client = clients.enter_context(operator_client(lab.state, lab.folders))
            return Fleet(lab, add_server, client)

        yield make


@pytest.fixture
def fleet(
    lab: Lab,
    add_server: Callable[..., ServerSpec],
    make_fleet: Callable[[Lab, Callable[..., ServerSpec]], Fleet],
) -> Iterator[Fleet]:
    """The lab with no server on it; kvm-01 and kvm-02 are alike, 03 and 04 are not."""
    fleet = make_fleet(lab, add_server)
    yield fleet
    fleet.clear_links()
    fleet.wait_until_healthy()


@pytest.fixture
def six_hosts(
    six_hosts_lab: Lab, make_fleet: Callable[[Lab, Callable[..., ServerSpec]], Fleet]
) -> Iterator[Fleet]:
    """As ``fleet``; kvm-05 has another kernel, and the CPU of kvm-06 lacks a feature."""
    made: list[str] = []

    def add(**fields: object) -> ServerSpec:
        given = {"name": f"guest-{len(made) + 1}", **fields}
        spec = ServerSpec(**given)  # type: ignore[arg-type]  # the test's own fields
        six_hosts_lab.add_server(spec)
        made.append(spec.name)
        return spec

    yield make_fleet(six_hosts_lab, add)
    for name in made:
        six_hosts_lab.remove_server(name)
