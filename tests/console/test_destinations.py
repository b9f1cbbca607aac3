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
        ("ev", "evacuations"),
        ("audit", "audit"),
    ],
)
def test_views_have_aliases(store, command, view):
    assert destination(command, store, writable=True) == Destination(view=view)


def test_a_name_or_an_id_puts_the_cursor_on_a_row(store, fleet):
    server = fleet.servers[0]
    wanted = Destination(view="servers", row_id=server.server_id)
    assert destination(f"server {server.name}", store, writable=True) == wanted
    assert destination(f"server {server.server_id}", store, writable=True) == wanted


def test_a_migration_is_found_by_its_server(store, fleet):
    migration = fleet.migrations[0]
    wanted = Destination(view="migration", row_id=migration.migration_id)
    assert destination(f"migration {migration.server_name}", store, writable=True) == wanted


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("jobs", "no view is called 'jobs'"),
        ("evacuate", "evacuate needs the names of hosts"),
        ("evacuate kvm-01 kvm-99", "evacuate: none of the hosts is called 'kvm-99'"),
        ("evacuation kvm-99", "'kvm-99' is neither the id of an evacuation nor a host"),
        ("server web-9", "server: none of the servers is called 'web-9'"),
        ("migration web-9", "'web-9' is neither the id of a migration nor a server"),
    ],
)
def test_what_leads_nowhere_is_named(store, command, sentence):
    with pytest.raises(UnknownDestinationError, match=sentence):
        destination(command, store, writable=True)


@pytest.mark.parametrize(
    ("begun", "completed"),
    [
        ("ho", "host"),
        ("hosts", "hosts"),
        ("ser", "server"),
        ("mig", "migrate"),
        ("migrati", "migration"),
        ("migrate we", "migrate web-1"),
        ("live", "live-migrate"),
        ("server we", "server web-1"),
        ("host k", "host kvm-01"),
        ("eva", "evacuate"),
        ("evacuate k", "evacuate kvm-01"),
        ("evacuate kvm-03 kvm-02", "evacuate kvm-03 kvm-02"),
        ("evacuate kvm-03 k", "evacuate kvm-03 kvm-01"),
        ("maint", "maintenance"),
        ("aud", "audit"),
        ("auto", "auto-migrate"),
        ("server x", None),
        ("zz", None),
        ("", None),
    ],
)
def test_completion(store, begun, completed):
    assert completion(begun, store, writable=True) == completed


@pytest.mark.parametrize(
    ("command", "act"),
    [
        ("migrate db-1", "migrate"),
        ("live-migrate db-1", "migrate"),
        ("cancel db-1", "abort"),
        ("cap db-1", "cap"),
        ("post-copy db-1", "postcopy"),
        ("settle db-1", "settle"),
    ],
)
def test_acts_have_names(store, fleet, command, act):
    db_1 = next(each for each in fleet.servers if each.name == "db-1")
    wanted = Destination(act=act, row_id=db_1.server_id)
    assert destination(command, store, writable=True) == wanted
    with pytest.raises(UnknownDestinationError, match="no view is called"):
        destination(command, store, writable=False)
    assert completion(command[:3], store, writable=False) in {None, "migration"}


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("migrate", "migrate needs the name of a server: :migrate NAME"),
        ("cancel web-9", "cancel: none of the servers is called 'web-9'"),
    ],
)
def test_an_act_needs_a_server(store, command, sentence):
    with pytest.raises(UnknownDestinationError, match=sentence):
        destination(command, store, writable=True)


def test_the_names_that_are_told_are_those_that_the_guide_uses(store):
    with pytest.raises(UnknownDestinationError, match="off, maintenance NAME"):
        destination("nowhere", store, writable=True)
    for word in ("off", "declare-off"):
        assert destination(f"{word} kvm-04", store, writable=True).act == "off"
