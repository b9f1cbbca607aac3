"""Notices over a real web server on loopback and a real command: in order, retried, in time."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from backend.config import NotifyConfig
from backend.health import channels as ways
from backend.health import teller as telling
from backend.health.channels import Channel, Command, Undelivered, Webhook, channels
from backend.health.teller import Teller
from backend.moments import now_ms
from wire.config import ConfigError
from wire.errors import ErrorCode, GodwitError
from wire.life import HealthValue
from wire.rescue import Incident, IncidentState, RescueGuard

SECRET = "s3cret"
INCIDENT = Incident(
    incident_id="i1",
    host_id="host-1",
    host_name="kvm-01",
    life=HealthValue(boot_id="b", epoch=1),
    lost_at_ms=1,
)


class Receiver:
    """A web server that remembers requests and answers with the statuses it is given."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, object]]] = []
        self.statuses: list[int] = []
        self.silent = False
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((lines[0], headers, json.loads(body)))
        if self.silent:
            await reader.read()
        else:
            status = self.statuses.pop(0) if self.statuses else 200
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 9999\r\n\r\n".encode())
        writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/private?key=hidden"

    @property
    def events(self) -> list[object]:
        return [body["event"] for _, _, body in self.requests]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await asyncio.start_server(receiver.answer, "127.0.0.1", 0) as server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def _hurry(monkeypatch) -> None:
    monkeypatch.setattr(telling, "RETRY_AFTER_S", (0.01, 0.01, 0.01))


class Told:
    """A teller with what it noted."""

    def __init__(self, two, *used: Channel) -> None:
        self.leading = True
        self.fleet = two.fleet
        self.notes: list[tuple[str, str]] = []
        self.refusal: GodwitError | None = None
        self.teller = Teller(two.fleet, self, used, self.note)
        self.task: asyncio.Task[None] | None = None

    async def note(self, incident_id: str, text: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.notes.append((incident_id, text))

    async def __aenter__(self) -> "Told":
        self.teller.look()
        self.task = asyncio.create_task(self.teller.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def test_a_webhook_gets_each_event_in_order_with_its_token(two, receiver, token_file):
    async with Told(two, Webhook(receiver.url, token_file)):
        two.fleet.put_incident("i1", INCIDENT)
        two.fleet.put_guard(RescueGuard(armed=False, reason="too many"))
        await until(lambda: len(receiver.requests) == 2)
        dead = msgspec.structs.replace(INCIDENT, dead_at_ms=5, state=IncidentState.RESCUED)
        two.fleet.put_incident("i1", dead)
        await until(lambda: len(receiver.requests) == 4)
    assert receiver.events == ["host_lost", "storm_guard_tripped", "host_dead", "rescue_ended"]
    line, headers, body = receiver.requests[0]
    assert line == "POST /hook/private?key=hidden HTTP/1.1"
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["content-type"] == "application/json"
    assert set(body) == {"event", "at_ms", "text", "incident"}
    assert body["incident"]["host_name"] == "kvm-01"
    assert receiver.requests[1][2]["incident"] is None


async def test_a_refused_notice_is_sent_again_before_the_next(two, receiver):
    receiver.statuses = [500, 429, 301, 204]
    async with Told(two, Webhook(receiver.url, None)) as told:
        two.fleet.put_incident("i1", INCIDENT)
        two.fleet.put_guard(RescueGuard(armed=False))
        await until(lambda: len(receiver.requests) == 5)
    assert receiver.events == ["host_lost"] * 4 + ["storm_guard_tripped"]
    assert told.notes == []


async def test_what_never_arrives_is_noted_once_and_the_next_is_sent(two, receiver, caplog):
    receiver.statuses = [500] * 4
    async with Told(two, Webhook(receiver.url, None)) as told:
        two.fleet.put_incident("i1", INCIDENT)
        two.fleet.put_guard(RescueGuard(armed=False))
        await until(lambda: len(receiver.requests) == 5)
    assert receiver.events[-1] == "storm_guard_tripped"
    ((incident_id, text),) = told.notes
    assert incident_id == "i1"
    assert "webhook was not told of host_lost" in text
    assert "answered 500" in text
    assert caplog.text.count("webhook was not told") == 1
    assert "hidden" not in caplog.text + text


@pytest.mark.parametrize("status", [400, 410, 413, 422])
async def test_what_is_refused_for_good_is_sent_and_told_once_and_holds_up_nothing(
    two, receiver, caplog, status
):
    receiver.statuses = [status]
    async with Told(two, Webhook(receiver.url, None)) as told:
        two.fleet.put_incident("i1", INCIDENT)
        two.fleet.put_guard(RescueGuard(armed=False))
        await until(lambda: "storm_guard_tripped" in receiver.events)
    assert receiver.events == ["host_lost", "storm_guard_tripped"]
    assert caplog.text.count(f"answered {status}") == len(told.notes) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 503])
async def test_what_may_pass_is_sent_again(two, receiver, status):
    receiver.statuses = [status, 200]
    async with Told(two, Webhook(receiver.url, None)) as told:
        two.fleet.put_incident("i1", INCIDENT)
        await until(lambda: len(receiver.requests) == 2)
    assert receiver.events == ["host_lost"] * 2
    assert told.notes == []


async def test_one_that_refuses_for_a_while_holds_up_no_other_receiver(two, receiver, monkeypatch):
    monkeypatch.setattr(telling, "RETRY_AFTER_S", (600.0,))
    receiver.statuses = [503]
    other = Receiver()
    async with await asyncio.start_server(other.answer, "127.0.0.1", 0) as server:
        other.port = server.sockets[0].getsockname()[1]
        async with Told(two, Webhook(receiver.url, None), Webhook(other.url, None)):
            two.fleet.put_incident("i1", INCIDENT)
            two.fleet.put_guard(RescueGuard(armed=False))
            await until(lambda: len(other.requests) == 2)
    assert other.events == ["host_lost", "storm_guard_tripped"]
    assert receiver.events == ["host_lost"], "the later one waits behind the earlier one"


async def test_nothing_is_held_up_when_the_note_cannot_be_written(two, receiver):
    receiver.statuses = [500] * 4
    async with Told(two, Webhook(receiver.url, None)) as told:
        told.refusal = GodwitError(ErrorCode.NOT_LEADING, "another leads")
        two.fleet.put_incident("i1", INCIDENT)
        two.fleet.put_guard(RescueGuard(armed=False))
        await until(lambda: "storm_guard_tripped" in receiver.events)


async def test_a_webhook_that_does_not_answer_is_given_up(receiver, monkeypatch):
    monkeypatch.setattr(ways, "WEBHOOK_TIMEOUT_S", 0.2)
    receiver.silent = True
    with pytest.raises(Undelivered, match="did not answer"):
        await Webhook(receiver.url, None).send(b"{}")


async def test_a_webhook_that_is_away_is_one_sentence(port):
    with pytest.raises(Undelivered, match="cannot be reached") as caught:
        await Webhook(f"http://127.0.0.1:{port}/secret", None).send(b"{}")
    assert "secret" not in str(caught.value)


async def test_a_command_gets_each_event_and_no_secret(two, tmp_path):
    heard, arguments = tmp_path / "heard", tmp_path / "arguments"
    script = tmp_path / "tell"
    script.write_text(
        f'#!/bin/sh\necho "$#" "$@" >> {arguments}\ncat >> {heard}\necho >> {heard}\n'
    )
    script.chmod(0o755)
    async with Told(two, Command([str(script), "--to", "pager"])):
        two.fleet.put_incident("i1", INCIDENT)
        two.fleet.put_guard(RescueGuard(armed=False))
        await until(lambda: heard.exists() and heard.read_text().count("\n") == 2)
    bodies = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [one["event"] for one in bodies] == ["host_lost", "storm_guard_tripped"]
    assert arguments.read_text().splitlines() == ["2 --to pager"] * 2


async def test_a_command_that_fails_or_does_not_read_is_told(tmp_path):
    with pytest.raises(Undelivered, match="ended with status 3"):
        await Command(["sh", "-c", "exit 3"]).send(b"x" * 1_000_000)
    await Command(["true"]).send(b"x" * 1_000_000)


async def test_a_command_that_hangs_is_killed_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(ways, "COMMAND_TIMEOUT_S", 0.5)
    pid_file = tmp_path / "pid"
    command = Command(["sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"])
    with pytest.raises(Undelivered, match="did not end within"):
        await command.send(b"{}")
    child = int(pid_file.read_text())
    await until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_a_slow_command_holds_up_no_webhook(two, receiver):
    async with Told(two, Command(["sleep", "600"]), Webhook(receiver.url, None)):
        two.fleet.put_incident("i1", INCIDENT)
        await until(lambda: receiver.events == ["host_lost"])


async def test_only_the_leader_tells(two, receiver):
    async with Told(two, Webhook(receiver.url, None)) as told:
        told.leading = False
        two.fleet.put_incident("i1", INCIDENT)
        await until(lambda: told.teller._told is None)
        told.leading = True
        two.fleet.put_guard(RescueGuard(armed=False, at_ms=now_ms()))
        await until(lambda: receiver.requests)
    assert receiver.events == ["storm_guard_tripped"], "old news is not told again"


async def test_a_new_leader_tells_what_may_have_been_told_to_nobody(two, receiver):
    recent = msgspec.structs.replace(INCIDENT, lost_at_ms=now_ms())
    two.fleet.put_incident("i1", recent)
    async with Told(two, Webhook(receiver.url, None)):
        await until(lambda: receiver.events == ["host_lost"])


def test_what_cannot_be_used_is_refused_at_the_start(tmp_path, token_file):
    token_file.chmod(0o644)
    for words, config in (
        ("0600", NotifyConfig(webhook_url="https://x", webhook_token_file=token_file)),
        ("without a notify.webhook_url", NotifyConfig(webhook_token_file=token_file)),
        ("https:// or http://", NotifyConfig(webhook_url="ftp://x")),
        ("https:// or http://", NotifyConfig(webhook_url="https://")),
        ("could read the token", NotifyConfig(webhook_url="http://x", webhook_token_file=tmp_path)),
        ("nothing that can be run", NotifyConfig(command=(str(tmp_path / "no"),))),
    ):
        with pytest.raises(ConfigError, match=words):
            channels(config)
    assert channels(NotifyConfig()) == []
