import pytest

from tui.client import Event
from tui.destinations import Destination, UnknownDestinationError, completion, destination
from tui.store import Store


@pytest.fixture
def store(fleet) -> Store:
    store = Store()
    store.apply(Event(name="snapshot", payload=fleet))
    return store


@pytest.mark.parametrize(
    ("command", "view"),
    [
        ("hosts", "hosts"),
        ("host", "hosts"),
        ("vm", "servers"),
        (" servers ", "servers"),
        ("mi", "migrations"),
        ("h", "help"),
        ("q", "quit"),
        ("q!", "quit"),
    ],
)
def test_views_have_aliases(store, command, view):
    assert destination(command, store) == Destination(view=view)


def test_a_name_or_an_id_puts_the_cursor_on_a_row(store, fleet):
    server = fleet.servers[0]
    wanted = Destination(view="servers", row_id=server.server_id)
    assert destination(f"server {server.name}", store) == wanted
    assert destination(f"server {server.server_id}", store) == wanted


def test_a_migration_is_found_by_its_server(store, fleet):
    migration = fleet.migrations[0]
    wanted = Destination(view="migration", row_id=migration.migration_id)
    assert destination(f"migration {migration.server_name}", store) == wanted


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("jobs", "no view is called 'jobs'"),
        ("server web-9", "server: none of the servers is called 'web-9'"),
        ("migration web-9", "'web-9' is neither the id of a migration nor a server"),
    ],
)
def test_what_leads_nowhere_is_named(store, command, sentence):
    with pytest.raises(UnknownDestinationError, match=sentence):
        destination(command, store)


@pytest.mark.parametrize(
    ("begun", "completed"),
    [
        ("ho", "host"),
        ("hosts", "hosts"),
        ("ser", "server"),
        ("mig", "migration"),
        ("server we", "server web-1"),
        ("host k", "host kvm-01"),
        ("server x", None),
        ("zz", None),
        ("", None),
    ],
)
def test_completion(store, begun, completed):
    assert completion(begun, store) == completed
