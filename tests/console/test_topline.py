import pytest

from tui.client import Connected, Disconnected, Event
from tui.paint import length, plain
from tui.store import Store
from tui.views.glyphs import UNICODE
from tui.views.topline import Session, top_line
from wire.console import BackendStatus, Role

SESSION = Session(address="10.77.1.2:8700")


def read(store: Store, session: Session = SESSION, width: int = 120) -> str:
    return plain(top_line(store, session, width, UNICODE))


@pytest.fixture
def store(fleet) -> Store:
    store = Store()
    store.apply(Connected())
    store.apply(Event(name="snapshot", payload=fleet))
    return store


def test_a_live_fleet(store: Store):
    text = read(store)
    assert text.startswith("godwit 10.77.1.2:8700 alice (operator)  ● live  ● etcd")
    assert text.endswith("4 hosts 6 servers 1 moving")


def test_before_anything_is_known():
    store = Store()
    assert "connecting" in read(store)
    store.apply(Disconnected(reason="10.77.1.2:8700 refuses the connection"))
    assert "✖ not connected" in read(store)


def test_a_lost_stream_says_since_when_and_that_the_picture_is_old(store: Store, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("tui.store.time.monotonic", lambda: now)
    store.apply(Disconnected(reason="no answer"))
    now = 1012.4
    store.apply(Disconnected(reason="no answer"))
    assert "✖ lost 12 s ago, shown as it was  ? etcd" in read(store)
    assert store.trouble == "no answer"


def test_a_silent_etcd(store: Store):
    status = BackendStatus(
        version="1", role=Role.VIEWER, token_name="eve", etcd_ok=False, etcd_error="etcd is silent"
    )
    store.apply(Event(name="status", payload=status))
    assert "✖ etcd silent" in read(store)
    assert store.trouble == "etcd is silent"


def test_badges(store: Store):
    session = Session(address="x", read_only=True, paused=True)
    assert " READ-ONLY " in read(store, session)
    assert " PAUSED " in read(store, session)


@pytest.mark.parametrize("width", [60, 80, 120, 250])
def test_it_fits(store: Store, width: int):
    session = Session(address="backend.example.org:8700", read_only=True, paused=True)
    store.apply(Disconnected(reason="no answer"))
    assert length(top_line(store, session, width, UNICODE)) <= width
