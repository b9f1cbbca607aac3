"""Which guests are measured when, and what libvirt's answers mean."""

import asyncio
from collections.abc import Callable

import libvirt
import pytest

from hostagent import dirtying
from hostagent.calls import LibvirtRefused
from hostagent.dirty_rate import Measured, measured
from hostagent.dirtying import Sampling, still_grows
from hostagent.inventory import Server
from wire.fleet import PowerState, ServerFacts
from wire.forecast import Dirtying, DirtySample

MIB = 1 << 20


def answer(rate: int, *, period: int = 3, status: int = libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED):
    return {
        "dirtyrate.calc_status": status,
        "dirtyrate.calc_period": period,
        "dirtyrate.megabytes_per_second": rate,
        "balloon.rss": 2048,
    }


def test_an_answer_is_bytes_within_the_window():
    told = measured(answer(20), huge_pages=False)
    assert told == Measured(
        window_ms=3000, dirtied_bytes=int(61.5 * MIB), resident_bytes=2048 << 10
    )


def test_an_idle_guest_dirtied_nothing():
    assert measured(answer(0), huge_pages=False).dirtied_bytes == 0


def test_memory_in_huge_pages_is_not_in_rss():
    assert measured(answer(1), huge_pages=True).resident_bytes == 0


@pytest.mark.parametrize(
    "status",
    [libvirt.VIR_DOMAIN_DIRTYRATE_MEASURING, libvirt.VIR_DOMAIN_DIRTYRATE_UNSTARTED],
)
def test_no_answer_yet(status):
    assert measured(answer(3, status=status), huge_pages=False) is None
    assert measured({}, huge_pages=False) is None
    assert measured(answer(-1), huge_pages=False) is None


def samples(*mib: float) -> list[DirtySample]:
    return [
        DirtySample(window_ms=window_ms, dirtied_bytes=int(each * MIB), at_ms=1)
        for window_ms, each in zip((1000, 3000), mib, strict=False)
    ]


@pytest.mark.parametrize(
    ("mib", "grows"),
    [((20, 60), True), ((20, 22), False), ((1, 3), False), ((0, 0), False), ((20,), False)],
)
def test_a_long_window_is_for_hot_memory_whose_end_is_not_seen(mib, grows):
    assert still_grows(samples(*mib)) is grows


class Host:
    """Guests that dirty memory at given rates; time passes at once."""

    connected = True

    def __init__(self, **mib_per_s: int) -> None:
        self.rates = mib_per_s
        self.servers = {name: self.server(name) for name in mib_per_s}
        self.refused: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.measuring = 0
        self.most_at_once = 0
        self.busy: set[str] = set()
        self.told: list[Dirtying] = []
        self.window_s = 0

    @staticmethod
    def server(name: str, state: PowerState = PowerState.RUNNING) -> Server:
        facts = ServerFacts(
            server_id=name, name=name, vcpu_count=1, memory_bytes=256 * MIB, state=state
        )
        return Server(facts=facts, saved_xml="")

    async def call(self, _what: str, function: Callable[..., object]) -> object:
        await asyncio.sleep(0)
        name = function.keywords["server_id"]
        if name in self.refused:
            raise LibvirtRefused("no", 1)
        if "window_s" in function.keywords:
            self.window_s = function.keywords["window_s"]
            self.asked.append((name, self.window_s))
            self.measuring += 1
            self.most_at_once = max(self.most_at_once, self.measuring)
            return True
        self.measuring -= 1
        return Measured(
            window_ms=1000 * self.window_s,
            dirtied_bytes=self.rates[name] * self.window_s * MIB,
            resident_bytes=64 * MIB,
        )


@pytest.fixture
def sampling(monkeypatch):
    """Sampling of a host, with the clock as fast as the loop."""
    clock = {"s": 0.0}
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        clock["s"] += seconds
        await sleep(0)

    def make(host: Host) -> tuple[Sampling, Callable]:
        monkeypatch.setattr(dirtying.asyncio, "sleep", at_once)
        monkeypatch.setattr(dirtying.time, "monotonic", lambda: clock["s"])
        made = Sampling(
            host,
            host,
            may_ask=lambda name: name not in host.busy,
            publish=host.told.append,
        )

        async def until(done: Callable[[], bool]) -> None:
            running = asyncio.create_task(made.run())
            for _ in range(20_000):
                await sleep(0)
                if done():
                    break
            running.cancel()
            assert done()

        return made, until

    return make


async def test_every_guest_is_measured_one_at_a_time(sampling):
    host = Host(idle=0, hot=30)
    made, until = sampling(host)
    await until(lambda: len(host.told) >= 2)
    assert {one.server_id for one in made.all()} == {"idle", "hot"}
    assert host.most_at_once == 1
    windows = {one.server_id: [each.window_ms for each in one.samples] for one in made.all()}
    assert windows == {"idle": [1000, 3000], "hot": [1000, 3000, 10_000]}
    assert {one.resident_bytes for one in made.all()} == {64 * MIB}


async def test_all_get_their_turn_again_and_none_is_forgotten(sampling):
    host = Host(a=0, b=0, c=0)
    _, until = sampling(host)
    await until(lambda: len(host.told) >= 12)
    counts = [sum(one.server_id == name for one in host.told) for name in host.rates]
    assert max(counts) - min(counts) <= 1


async def test_a_guest_with_a_job_is_let_alone(sampling):
    host = Host(a=0, b=0)
    host.busy.add("a")
    _, until = sampling(host)
    await until(lambda: len(host.told) >= 3)
    assert {name for name, _ in host.asked} == {"b"}


async def test_a_job_that_begins_meanwhile_ends_the_measurement(sampling):
    host = Host(a=9)
    made, until = sampling(host)
    publish = host.call

    async def call(what: str, function: Callable[..., object]) -> object:
        host.busy.add("a")
        return await publish(what, function)

    host.call = call
    await until(lambda: bool(host.asked))
    for _ in range(10):
        await asyncio.sleep(0)
    assert host.told == []
    assert made.all() == ()
    assert len(host.asked) == 1


async def test_a_guest_that_stopped_is_forgotten(sampling):
    host = Host(a=0, b=0)
    made, until = sampling(host)
    await until(lambda: len(made.all()) == 2)
    host.servers["a"] = host.server("a", PowerState.SHUT_OFF)
    del host.servers["b"]
    await until(lambda: made.all() == ())


async def test_a_guest_that_cannot_be_measured_hides_no_other(sampling):
    host = Host(a=0, b=0)
    host.refused.add("a")
    _, until = sampling(host)
    await until(lambda: len(host.told) >= 2)
    assert {one.server_id for one in host.told} == {"b"}


async def test_an_answer_that_nobody_understands_ends_nothing(sampling, caplog):
    host = Host(a=0, b=0)
    ask = host.call

    async def call(what: str, function: Callable[..., object]) -> object:
        if function.keywords["server_id"] == "a":
            raise KeyError("dirtyrate.calc_period")
        return await ask(what, function)

    host.call = call
    _, until = sampling(host)
    await until(lambda: len(host.told) >= 2)
    assert {one.server_id for one in host.told} == {"b"}
    assert "no dirty rate measured" in caplog.text
