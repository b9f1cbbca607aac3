"""Hosts that are late, lost and dead: what each view shows, and each act with its sentence."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.console.host_down import CUT_OFF, LOST_MS, NOON_MS, PROOF, SCENES
from tui.formats.health import ago_text
from tui.paint import length, plain
from tui.rescue_acts import declare_off, priority
from tui.screens.choice import ChoiceDialog
from tui.screens.dialog import Question
from tui.screens.entry import Entry
from tui.screens.health import HealthScreen
from tui.screens.hosts import HostsScreen
from tui.screens.incident import IncidentScreen
from tui.screens.incidents import IncidentsScreen
from tui.screens.migration import MigrationScreen
from tui.screens.report import ReportScreen
from tui.screens.rescue import RescueDialog
from tui.store import Changes, Store
from tui.views.glyphs import ASCII, UNICODE
from tui.views.health import etcd_lines, fence_span, left_span, rows
from tui.views.incidents import timeline_lines
from tui.views.topline import Session, top_line
from tui.widgets.lines import Lines
from wire.console import BackendStatus, FailingDuty, Role
from wire.errors import ErrorCode, GodwitError
from wire.fleet import HostPolicy, HostStatus, RescuePriority
from wire.life import Fence
from wire.rescue import (
    EtcdMember,
    HostPolicyChange,
    IncidentState,
    RescueGuard,
    RescueOptions,
    RescueState,
    ServerPolicyChange,
)

changed = msgspec.structs.replace
KVM_04 = "0b5e4a4e-0000-4000-8000-000000000004"
MAIL_10 = "7c1d0000-0000-4000-8000-000000000006"


def text_of(pilot: Any, selector: str) -> str:
    lines = pilot.app.screen.query_one(selector, Lines).lines
    return "\n".join(plain(each).rstrip() for each in lines)


def told(pilot: Any) -> str:
    """What a dialog says, without its line breaks."""
    return " ".join(text_of(pilot, "#sentence").split())


@pytest.fixture
def at(open_console, client, settled, monkeypatch):
    """Put the stub into a scene, open the console, press keys, and hand the pilot to a check."""
    monkeypatch.setattr("tui.desk.time.time", lambda: NOON_MS / 1000)

    async def run(scene: str, check, *keys: str, size=(80, 24), **desk: object) -> None:
        SCENES[scene](client)
        async with open_console(**desk).run_test(size=size) as pilot:
            await settled(pilot)
            for key in keys:
                await pilot.press({"-": "minus", " ": "space"}.get(key, key))
                await settled(pilot)
            checked = check(pilot)
            if checked is not None:
                await checked

    return run


def acts(client: Any) -> list[tuple[str, str]]:
    """What was asked for that changes something."""
    harmless = {"health", "candidates", "migration"}
    return [call for call in client.asked if call[0] not in harmless]


# The top line


def store_of(client: Any, scene: str) -> Store:
    SCENES[scene](client)
    store = Store()
    store.link = store.link.LIVE
    store._replace(client.fleet)
    return store


@pytest.mark.parametrize("width", [60, 80, 100, 120, 250])
@pytest.mark.parametrize("scene", SCENES)
def test_the_top_line_tells_of_lost_and_late_hosts_at_any_width(client, scene, width):
    store = store_of(client, scene)
    shown = top_line(store, Session(address="10.77.1.2:8700"), width, UNICODE)
    assert length(shown) <= width
    text = plain(shown)
    assert "✖ kvm-04 " in text
    if width >= 80:
        assert "▲ kvm-02 late" in text
        assert ("DISARMED" in text) is (scene == "storm")
    if scene == "storm" and width >= 80:
        assert "2 of 4 ho" in text
    if scene == "storm" and width == 250:
        assert f"RESCUES DISARMED  {CUT_OFF}" in text


def test_a_host_that_was_switched_off_for_maintenance_is_no_alarm(client):
    store = store_of(client, "proving")
    store.hosts[KVM_04] = changed(store.hosts[KVM_04], policy=HostPolicy(maintenance=True))
    assert "kvm-04" not in plain(top_line(store, Session(address="x"), 120, UNICODE))


DUTIES = ("audit", "departures", "evacuations", "leftovers", "migrations", "rescues")


def failing(client: Any, *names: str) -> None:
    duties = tuple(
        FailingDuty(name=name, failures=3, since_ms=LOST_MS, reason="KeyError: 'host-9'")
        for name in names
    )
    client.fleet = changed(client.fleet, status=changed(client.fleet.status, failing_duties=duties))


@pytest.mark.parametrize(
    ("names", "badge"),
    [
        (["rescues"], " RESCUES FAIL "),
        (["audit"], " AUDIT FAILS "),
        (["evacuations", "migrations"], " MIGRATIONS +1 FAIL "),
        (DUTIES, " RESCUES +5 FAIL "),
    ],
)
@pytest.mark.parametrize("scene", SCENES)
def test_the_top_line_says_what_the_backend_does_not_get_done(client, scene, names, badge):
    failing(client, *names)
    store = store_of(client, scene)
    for width in (60, 80, 100, 120, 250):
        shown = top_line(store, Session(address="10.77.1.2:8700"), width, UNICODE)
        assert length(shown) <= width
        text = plain(shown)
        assert "✖ kvm-04 " in text
        if width >= 100:
            assert badge in text
        if width >= 80:
            assert badge.split()[0] in text
        if scene == "storm" and width >= (80 if "rescues" in names else 100):
            assert " DISARMED " in text


# The Health view


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 40)])
async def test_duties_that_fail_hide_neither_why_a_report_is_old_nor_etcd(
    at, client, monkeypatch, size
):
    failing(client, *DUTIES)

    async def check(pilot):
        screen = pilot.app.screen
        screen._refusal = "etcd does not answer"
        screen.take(Changes(everything=True))
        pane = text_of(pilot, "#pane").splitlines()
        told = " ".join(" ".join(pane).split())
        assert "✖ etcd does not answer; below stands what was at 2026-11-23 12:00:00" in told
        assert "etcd: 2 of 3 members answer" in told
        if size[1] < 40:
            assert "✖ 6 duties fail: rescues, migrations, audit, departures," in told
        else:
            names = [each.split()[2] for each in pane if each.startswith("✖ duty ")]
            assert names == ["rescues", "migrations", *DUTIES[:4]]

    await at("rescuing", check, "4", size=size)


async def test_health_says_in_one_line_what_the_backend_does_not_get_done(at, client):
    duty = FailingDuty(
        name="evacuations", failures=3, since_ms=LOST_MS, reason="KeyError: 'host-9' " + "x" * 99
    )

    def check(pilot):
        (shown,) = (one for one in text_of(pilot, "#pane").splitlines() if "duty" in one)
        assert shown.startswith("✖ duty evacuations has failed 3 times since ")
        assert ": KeyError: 'host-9' " in shown
        assert shown.rstrip().endswith("…")

    client.fleet = changed(
        client.fleet, status=changed(client.fleet.status, failing_duties=(duty,))
    )
    await at("rescuing", check, "4")


async def test_health_shows_the_worst_first_with_what_is_left(at, client):
    def check(pilot):
        assert isinstance(pilot.app.screen, HealthScreen)
        table = text_of(pilot, "#table").splitlines()
        assert [row.split()[0] for row in table[1:]] == ["kvm-04", "kvm-02", "kvm-01", "kvm-03"]
        assert "✖ dead" in table[1]
        assert "▲ late" in table[2]
        assert "3/10 s" in table[2]
        assert "9/10 s" in table[3]
        assert "▲ none" in table[4]
        pane = text_of(pilot, "#pane")
        assert "● rescues armed" in pane
        assert "▲ etcd: 2 of 3 members answer" in pane
        assert "10.77.1.4:2379  ✖ does not answer within 2 s" in pane
        assert "2 rescued, 1 waiting" in text_of(pilot, "#details")

    await at("rescuing", check, "4")


async def test_a_host_that_gets_worse_comes_first_and_the_cursor_stays_on_its_host(at, client):
    async def check(pilot):
        screen = pilot.app.screen
        first, *others = client.report.hosts
        assert screen.table.listing.ids[-2:] == [first.host_id, others[1].host_id]
        screen.table.put_cursor(others[1].host_id)
        lost = changed(first, present=False, left_s=None)
        client.report = changed(client.report, hosts=(lost, *others))
        await screen._ask()
        await pilot.pause()
        assert screen.table.listing.ids[:2] == [KVM_04, first.host_id]
        assert screen.table.cursor_id == others[1].host_id

    await at("rescuing", check, "4")


async def test_etcd_is_asked_only_while_the_view_is_shown(at, client):
    async def check(pilot):
        assert ("health", "") not in client.asked
        await pilot.press("4")
        await pilot.pause(2.5)
        asked = client.asked.count(("health", ""))
        assert asked >= 2
        await pilot.press("1")
        await pilot.pause(0.1)
        left = client.asked.count(("health", ""))
        await pilot.pause(1.5)
        assert client.asked.count(("health", "")) == left

    await at("rescuing", check)


async def test_a_refusal_makes_every_key_unknown_and_never_lost(at, client, settled):
    async def check(pilot):
        client.refusal = GodwitError(ErrorCode.ETCD_UNREACHABLE, "etcd does not answer")
        await pilot.pause(1.3)
        await settled(pilot)
        pane = text_of(pilot, "#pane")
        assert "✖ etcd does not answer; below stands what was at 2026-11-23 12:00:00" in pane
        table = text_of(pilot, "#table").splitlines()[1:]
        assert all("? unknown" in row for row in table)
        client.refusal = None
        await pilot.pause(1.3)
        await settled(pilot)
        assert "▲ late" in text_of(pilot, "#table")

    await at("rescuing", check, "4")


async def test_a_backend_that_says_nothing_does_not_leave_the_bars_standing(
    at, client, monkeypatch
):
    now = 1000.0

    class Clock:
        monotonic = staticmethod(lambda: now)

    async def check(pilot):
        nonlocal now

        async def never() -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(client, "health", never)
        await pilot.pause(1.3)
        now = 1012.0
        pilot.app.show_changes()
        await pilot.pause()
        assert "no answer from the backend for 12 s" in text_of(pilot, "#pane")
        assert "? unknown" in text_of(pilot, "#table")

    monkeypatch.setattr("tui.screens.health.time", Clock)
    await at("rescuing", check, "4")


async def test_enter_shows_every_change_of_a_host(at):
    def check(pilot):
        shown = text_of(pilot, "#details")
        assert pilot.app.screen.has_class("-zoomed")
        assert "kvm-02  ▲ late  3 of 10 s left" in shown
        assert "2026-11-23 11:59:58 late: 3 s left of 10" in shown
        assert "when it dies; not when it is shut down in order" in shown
        assert "epoch 5" in shown

    await at("rescuing", check, "4", "j", "enter")


async def test_a_late_host_is_told_in_words_in_the_hosts_view(at):
    def check(pilot):
        table = text_of(pilot, "#table").splitlines()
        assert "▲ late" in table[2]
        assert "✖ dead" in table[4]

    await at("rescuing", check)


def test_a_bar_empties_with_the_lease(client, make):
    host = changed(client.fleet.hosts[0], health=None)
    health = make["health"](host, left_s=5)
    row = rows(changed(make["report"](client.fleet), hosts=(health,)), stale=False)[health.host_id]
    assert left_span(row, 19, UNICODE).text == "█████░░░░░  5/10 s"
    assert left_span(row, 15, ASCII).text == "####...  5/10 s"
    assert left_span(changed(row, stale=True), 19, UNICODE).text == "?"
    wanted = changed(health, policy=HostPolicy(auto_migrate_on_host_down=True))
    assert fence_span(row, 20, UNICODE).text == "none"
    assert fence_span(changed(row, health=wanted), 20, UNICODE).text == "▲ none"


def test_etcd_without_a_majority_or_a_leader_says_so():
    leader = EtcdMember(endpoint="a:2379", leader=True)
    member = EtcdMember(endpoint="b:2379")
    dead = EtcdMember(endpoint="c:2379", error="refused")
    for members, words in (
        ((leader,), "● etcd: 1 of 1 member answers"),
        ((member, member), "none of them leads"),
        ((leader, dead, dead), "✖ etcd: 1 of 3 members answer, no majority"),
    ):
        assert words in plain(etcd_lines(members, UNICODE, brief=True)[0])
    assert len(etcd_lines((leader, member), UNICODE, brief=True)) == 1
    assert len(etcd_lines((leader, member), UNICODE, brief=False)) == 3


def test_how_long_ago():
    assert [ago_text(each) for each in (-5, 59_999, 60_000, 7_200_000, 200_000_000)] == [
        *("0 s ago", "59 s ago", "1 min ago", "2 h ago", "2 d ago"),
    ]


# Incidents


async def test_an_incident_counts_from_the_loss(at):
    def check(pilot):
        assert isinstance(pilot.app.screen, IncidentScreen)
        assert "kvm-04" in text_of(pilot, "#heading")
        assert "lost for 42.0 s" in text_of(pilot, "#heading")
        pane = text_of(pilot, "#pane")
        assert "dead           11:59:20  +3.1 s" in pane
        assert "first running  11:59:21  +4.2 s    mail-10 on kvm-01" in pane
        table = text_of(pilot, "#table").splitlines()[1:]
        assert [row.split()[2] for row in table] == [
            *("starting", "waiting", "rescued", "rescued", "skipped", "skipped"),
        ]

    await at("rescuing", check, "5", "enter")


async def test_a_new_incident_is_in_sight_though_the_cursor_stays(at, client, settled):
    async def check(pilot):
        under = pilot.app.screen.table.cursor_id
        first = client.fleet.incidents[0]
        newest = changed(first, incident_id="9d2f0000", host_name="kvm-01", lost_at_ms=NOON_MS)
        client.say(newest, "incident")
        await settled(pilot)
        assert pilot.app.screen.table.cursor_id == under
        assert text_of(pilot, "#table").splitlines()[1].startswith("kvm-01")

    await at("rescuing", check, "5", "j")


async def test_an_incident_goes_on_while_it_is_shown(at, client, settled):
    async def check(pilot):
        incident = client.fleet.incidents[0]
        servers = list(incident.servers)
        servers[2] = changed(
            servers[2], state=RescueState.RESCUED, running_at_ms=LOST_MS + 9_900, reason=""
        )
        client.say(changed(incident, servers=tuple(servers), last_running_at_ms=LOST_MS + 9_900))
        await pilot.pause(0.1)
        await settled(pilot)
        # nothing moves under the cursor
        first = text_of(pilot, "#table").splitlines()[1]
        assert first.split()[:3] == ["index-1", "✔", "rescued"]
        assert "+9.9 s    index-1 on kvm-01" in text_of(pilot, "#pane")

    await at("rescuing", check, "5", "enter")


async def test_the_reason_stands_in_full_for_the_server_under_the_cursor(at):
    def check(pilot):
        shown = " ".join(text_of(pilot, "#details").split())
        assert "no host has 16 GiB of memory free: kvm-01 has 7.2 GiB, kvm-02 5.1 GiB" in shown

    await at("rescuing", check, "5", "enter", "j")


async def test_enter_opens_the_latest_try(at):
    def check(pilot):
        assert isinstance(pilot.app.screen, MigrationScreen)
        assert pilot.app.screen.migration_id == "3f000003"

    await at("rescuing", check, "5", "enter", "j", "j", "enter")


async def test_the_report_is_text_and_is_copied_as_markdown(at, monkeypatch):
    copied: list[str] = []

    def check(pilot):
        assert isinstance(pilot.app.screen, ReportScreen)
        text = "\n".join(plain(each) for each in pilot.app.screen.query_one("#page").text)
        assert "Incident of kvm-04: rescuing" in text
        assert "on local storage of" in text
        assert copied[0].startswith("# Incident of kvm-04")
        assert "as Markdown" in text_of(pilot, "Notice")

    monkeypatch.setattr("tui.app.Console.copy_to_clipboard", lambda _, text: copied.append(text))
    await at("rescuing", check, "5", "v", "c")


async def test_esc_leads_back_step_by_step(at):
    def check(pilot):
        assert isinstance(pilot.app.screen, IncidentsScreen)

    await at("rescuing", check, "5", "enter", "v", "escape", "escape")


def late(client: Any, *, first_s: float, last_s: float):
    """The case with servers that came up this long after the loss."""
    incident = client.fleet.incidents[0]
    one, two, *others = incident.servers
    ran = [LOST_MS + int(1000 * each) for each in (first_s, last_s)]
    return changed(
        incident,
        dead_at_ms=LOST_MS + 121_000,
        first_running_at_ms=ran[0],
        last_running_at_ms=ran[1],
        servers=(changed(one, running_at_ms=ran[0]), changed(two, running_at_ms=ran[1]), *others),
    )


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_how_long_it_took_is_never_cut(at, client, settled, size):
    async def check(pilot):
        client.say(late(client, first_s=136.4, last_s=1000.2))
        await pilot.pause(0.05)
        await settled(pilot)
        row = text_of(pilot, "#table").splitlines()[1]
        narrow = size[0] == 80
        for told in ("2:01", "2:16", "16:40") if narrow else ("2 min 01 s", "2 min 16 s"):
            assert told in row
        await pilot.press("enter")
        await settled(pilot)
        assert ("2:16" if narrow else "2 min 16 s") in text_of(pilot, "#table")
        pane = text_of(pilot, "#pane")
        assert "+2 min 16 s   mail-10 on kvm-01" in pane
        assert "…" not in next(each for each in pane.splitlines() if "+2 min 16 s" in each)

    await at("rescuing", check, "5", size=size)


async def test_a_wide_table_marks_what_lies_beyond_its_edge(at):
    def check(pilot):
        title, first, second = text_of(pilot, "#table").splitlines()[:3]
        assert "2026-11-23 11:59:17" in first
        assert first.endswith("…")
        assert second.endswith("1 returned")
        assert length(pilot.app.screen.table.lines[2]) <= 80
        assert title.endswith("…")

    await at("rescuing", check, "5", "w")


async def test_a_wide_table_marks_it_without_the_cursor_too(at):
    def check(pilot):
        assert text_of(pilot, "#table").splitlines()[1].endswith("…")

    await at("rescuing", check, "5", "w", "j")


@pytest.mark.parametrize("width", [78, 118, 250])
def test_a_brief_time_line_has_one_line_for_each_moment(client, width):
    incident = store_of(client, "rescuing").incidents["9d20f1c4"]
    lines = timeline_lines(incident, width, brief=True)
    assert len(lines) == 5
    assert all(length(each) <= width for each in lines)
    whole = " ".join(" ".join(plain(each) for each in timeline_lines(incident, width)).split())
    assert PROOF.split(",")[0] in whole


# Acts


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        (
            ["k", "enter"],
            HostPolicyChange(auto_migrate_on_host_down=False, auto_migrate_on_host_shutdown=False),
        ),
        (
            ["j", "enter"],
            HostPolicyChange(auto_migrate_on_host_down=True, auto_migrate_on_host_shutdown=True),
        ),
        (["enter"], None),
        (["j", "escape"], None),
    ],
)
async def test_a_policy_is_chosen_by_what_it_means(at, client, keys, wanted):
    await at("rescuing", lambda _: None, "j", "H", *keys)
    assert client.bodies == ([wanted] if wanted else [])


async def test_a_policy_tells_of_the_watchdog_that_is_missing(at):
    def check(pilot):
        assert isinstance(pilot.app.screen, ChoiceDialog)
        meaning = " ".join(text_of(pilot, "#meaning").split())
        assert "kills these servers itself, or is reset" in meaning
        assert "kvm-03 has no watchdog (no /dev/watchdog)" in meaning
        assert "as it is now" in text_of(pilot, "#choices").splitlines()[2]

    await at("rescuing", check, "j", "j", "H")


async def test_a_host_is_declared_off_by_its_name(at, client, settled):
    async def check(pilot):
        assert isinstance(pilot.app.screen, Entry)
        assert "if kvm-04 still runs, a second copy of each server destroys its disk" in told(pilot)
        assert "Type kvm-04 to go on" in told(pilot)
        assert "declare it off once it is (lost since" in told(pilot)
        assert acts(client) == []
        for key in ("minus", "0", "4", "enter"):
            await pilot.press(key)
            await settled(pilot)
        assert acts(client) == [("declare_off", KVM_04)]
        assert client.bodies == ["kvm-04"]
        assert "kvm-04 is declared off" in text_of(pilot, "Notice")

    await at("proving", check, "G", "F", *"kvm", "enter")


async def test_what_a_word_leads_to_depends_on_policy_and_guard(client):
    store = store_of(client, "proving")
    host = store.hosts[KVM_04]

    def follows(store: Store, host: Any) -> str:
        act = declare_off(store, host)
        assert not isinstance(act, str)
        return dict(act.facts)["then"].text

    assert "start elsewhere, once its lease has run out" in follows(store, host)
    assert "auto-migrate of kvm-04 is off" in follows(store, changed(host, policy=HostPolicy()))
    guard = RescueGuard(armed=False, reason="x")
    store.status = changed(store.status, rescue_guard=guard)
    assert "until rescues are armed" in follows(store, host)


def test_a_word_is_asked_for_with_what_is_missing(client):
    store = store_of(client, "proving")
    host = store.hosts[KVM_04]

    def told(**changes: Any) -> dict[str, str]:
        known = store.open_incident(KVM_04)
        store.incidents[known.incident_id] = changed(known, **changes)
        act = declare_off(store, host)
        assert not isinstance(act, str)
        return {label: span.text for label, span in act.facts}

    unfenced = told()
    assert "kvm-04 had no watchdog" in unfenced["missing"]
    assert "or wait" not in unfenced
    life = changed(store.open_incident(KVM_04).life, fence=Fence.WATCHDOG)
    fenced = told(life=life, held_reason="its lease may live")
    assert fenced["missing"].startswith("its lease may live (lost since ")
    assert "by itself once its lease has run out" in fenced["or wait"]
    assert "or wait" not in told(state=IncidentState.HELD)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": HostStatus.ONLINE}, "only a host that is lost can be declared off"),
        ({"status": HostStatus.UNKNOWN}, "nobody can say whether kvm-04 is lost"),
        ({"dead": True}, "kvm-04 counts as dead already"),
    ],
)
def test_no_word_is_taken_for_another_host(client, change, sentence):
    store = store_of(client, "proving")
    answer = declare_off(store, changed(store.hosts[KVM_04], **change))
    assert isinstance(answer, str)
    assert sentence in answer


async def test_arming_says_whose_servers_start_at_once(at, client, settled):
    async def check(pilot):
        assert isinstance(pilot.app.screen, Question)
        assert CUT_OFF in told(pilot)
        assert "at once those of kvm-04 (3 servers)" in told(pilot)
        await pilot.press("n")
        assert acts(client) == []
        await pilot.press("A", "y")
        await settled(pilot)
        assert acts(client) == [("arm", "")]

    await at("storm", check, "4", "A")


async def test_disarming_wants_a_reason(at, client, settled):
    async def check(pilot):
        assert isinstance(pilot.app.screen, Entry)
        await pilot.press("enter")
        assert acts(client) == []
        for key in (*"etcd", "enter"):
            await pilot.press(key)
            await settled(pilot)
        assert acts(client) == [("disarm", "etcd")]

    await at("rescuing", check, "5", "A")


async def test_a_priority_is_chosen(at, client):
    await at("rescuing", lambda _: None, "2", "G", "U", "k", "enter")
    assert client.bodies == [ServerPolicyChange(rescue_priority=RescuePriority.HIGH)]
    choices = priority(client.fleet.servers[0])
    assert [each.present for each in choices.choices] == [False, True, False]


async def test_a_server_of_a_dead_host_is_rescued_with_its_proof(at, client, settled):
    async def check(pilot):
        assert isinstance(pilot.app.screen, Question)
        assert "Rescue mail-10 from kvm-04 to kvm-05?" in told(pilot)
        assert PROOF in told(pilot)
        assert "it ran, and is started on kvm-05 from its disks" in told(pilot)
        assert acts(client) == []
        await pilot.press("y")
        await settled(pilot)
        assert acts(client) == [("rescue", MAIL_10)]
        host_id = "0b5e4a4e-0000-4000-8000-000000000005"
        assert client.bodies == [RescueOptions(prefer_host=host_id, auto_start=True)]
        assert isinstance(pilot.app.screen, MigrationScreen)

    await at("rescuing", check, "5", "enter", "j", "j", "M", "j", "enter")


@pytest.mark.parametrize(("name", "mark"), [("mail-10", "s [x]"), ("old-7", "s [ ]")])
async def test_only_a_server_that_ran_is_started_unless_told_otherwise(at, name, mark):
    def check(pilot):
        assert isinstance(pilot.app.screen, RescueDialog)
        assert text_of(pilot, "#options").startswith(f"{mark} start on arrival")

    await at("rescuing", check, "2", "colon", *f"rescue {name}", "enter")


async def test_a_host_that_is_not_proven_dead_is_typed_before_a_rescue(at, client, settled):
    async def check(pilot):
        assert isinstance(pilot.app.screen, Entry)
        assert "kvm-04 is lost and not proven dead" in told(pilot)
        assert "declare it off once it is (lost since" in told(pilot)
        assert "a second copy of mail-10 destroys its disk" in told(pilot)
        for key in (*"kvm", "enter", "minus", "0", "4", "enter"):
            await pilot.press(key)
            await settled(pilot)
        assert isinstance(pilot.app.screen, Question)
        assert "kvm-04 is switched off" in told(pilot)
        assert "nothing starts it" in told(pilot)
        await pilot.press("y")
        await settled(pilot)
        assert client.bodies == [RescueOptions(host_is_off="kvm-04")]

    await at("proving", check, "5", "enter", "M", "s", "enter")


async def test_a_word_that_is_not_given_rescues_nothing(at, client):
    def check(pilot):
        assert isinstance(pilot.app.screen, RescueDialog)

    await at("proving", check, "5", "enter", "M", "enter", *"kvm", "escape")
    assert acts(client) == []


async def test_a_refusal_stays_the_backends_sentence(at, client, settled):
    sentence = "nobody knows yet that kvm-04 is dead: its watchdog has 2.1 s to go"

    async def check(pilot):
        client.refusal = GodwitError(ErrorCode.NOT_PROVEN_DEAD, sentence)
        await pilot.press("enter", "y")
        await settled(pilot)
        assert isinstance(pilot.app.screen, RescueDialog)
        assert sentence in " ".join(text_of(pilot, "#verdicts").split())

    await at("rescuing", check, "5", "enter", "j", "j", "M")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("health kvm-04", HealthScreen),
        ("in", IncidentsScreen),
        ("incident kvm-04", IncidentScreen),
        ("off kvm-04", Entry),
        ("auto-migrate kvm-01", ChoiceDialog),
        ("priority web-1", ChoiceDialog),
        ("rescue mail-10", RescueDialog),
        ("disarm", Entry),
    ],
)
async def test_a_command_leads_where_its_key_does(at, client, command, kind):
    def check(pilot):
        assert isinstance(pilot.app.screen, kind)
        if command == "health kvm-04":
            assert pilot.app.screen.table.cursor_id == KVM_04

    await at("proving", check, "4", "1", "colon", *command, "enter")
    assert acts(client) == []


# Read-only, and what comes from outside


@pytest.mark.parametrize("view", [["1"], ["4"], ["5"], ["5", "enter"]])
async def test_read_only_has_none_of_these_keys(at, client, view):
    def check(pilot):
        assert type(pilot.app.screen) in {
            *(HostsScreen, HealthScreen, IncidentsScreen, IncidentScreen),
        }
        footer = text_of(pilot, "#footer")
        for word in ("Auto-migrate", "Declare", "Disarm", "Rescue", "Priority"):
            assert word not in footer

    await at("proving", check, *view, "G", "H", "F", "A", "U", "M", read_only_wanted=True)
    assert acts(client) == []


async def test_a_role_that_is_taken_away_takes_a_word_with_it(at, client, settled):
    async def check(pilot):
        client.say(BackendStatus(version="1", role=Role.VIEWER, token_name="eve", etcd_ok=True))
        await pilot.pause(0.1)
        await pilot.press("enter")
        await settled(pilot)
        assert acts(client) == []

    await at("proving", check, "G", "F", *"kvm-04")


@pytest.mark.parametrize("name", ["[red]x", "a\x1b[31mb\x07c", "\u202eabc", "x\ny"])
async def test_whatever_hosts_and_reasons_are_called_is_drawn_as_text(at, client, settled, name):
    async def check(pilot):
        incident = client.fleet.incidents[0]
        server = changed(incident.servers[0], server_name=name, reason=name, target_host_name=name)
        notes = (changed(incident.notes[0], text=name, by=name),)
        case = changed(incident, host_name=name, servers=(server,), proof=name, notes=notes)
        client.say(case)
        host = client.fleet.hosts[3]
        client.say(changed(host, facts=changed(host.facts, name=name)))
        guard = RescueGuard(armed=False, reason=name, by=name)
        client.say(changed(client.fleet.status, rescue_guard=guard))
        client.report = changed(
            client.report,
            hosts=tuple(changed(each, host_name=name) for each in client.report.hosts),
            members=(EtcdMember(endpoint=name, error=name),),
        )
        await pilot.pause(0.1)
        for keys in (["4"], ["d", "escape"], ["A"], ["escape", "5"], ["enter"], ["v"]):
            await pilot.press(*keys)
            await settled(pilot)
            shown = [plain(line) for each in pilot.app.screen.query(Lines) for line in each.lines]
            assert all(text.isprintable() for text in shown)

    await at("rescuing", check)
