import msgspec
import pytest

from tests.console.emptying import course
from tui.paint import length, plain
from tui.plot import GraphStyle
from tui.views import hosts, servers
from tui.views.curves import curve_lines
from tui.views.ending import ending_lines
from tui.views.figures import figures, pass_lines, with_pass_under_way
from tui.views.glyphs import (
    ASCII,
    UNICODE,
    glyphs_of,
    host_span,
    incident_span,
    migration_span,
    rescue_span,
    server_span,
)
from tui.views.history import History
from wire.evacuation import EvacuationKind, EvacuationState
from wire.fleet import HostMeters, HostPolicy, HostStatus, ServerStatus
from wire.migration import MigrationDetail, MigrationState, Statistics
from wire.rescue import IncidentState, RescueState


@pytest.mark.parametrize(
    ("model_name", "short"),
    [
        ("Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz", "Xeon E5-2650 v2"),
        ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", "Xeon Gold 6248R"),
        ("AMD EPYC 7763 64-Core Processor", "EPYC 7763"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "Core i7-8700"),
        ("Neoverse-N1", "Neoverse-N1"),
        ("", "-"),
    ],
)
def test_cpu_names_keep_what_tells_them_apart(model_name, short):
    assert hosts.cpu_name(model_name) == short


@pytest.mark.parametrize(
    ("width", "text"),
    [(44, "≠ microcode, kernel"), (16, "≠ ucode kernel"), (10, "≠ ucode +1")],
)
def test_compatibility_names_what_differs_as_the_room_allows(make, width, text):
    here, there = make["host"](1).facts, make["host"](3, microcode="0x428", kernel="6.2").facts
    assert hosts.compatibility(here, there, width, UNICODE).text == text


def test_compatibility_with_itself_and_with_an_equal_host(make):
    one, equal = make["host"](1).facts, make["host"](2).facts
    assert hosts.compatibility(one, one, 20, UNICODE).text == "this host"
    assert hosts.compatibility(one, equal, 20, UNICODE).text == "= same"
    assert hosts.compatibility(None, equal, 20, UNICODE).text == ""


def test_the_comparison_gives_both_values(make):
    here = make["host"](1)
    others = [here, make["host"](2), make["host"](3, microcode="0x428")]
    text = "\n".join(plain(each) for each in hosts.details(here, others, 78, UNICODE))
    assert "= same CPU, microcode, kernel: kvm-02" in text
    assert "≠ kvm-03     microcode 0x42e here, 0x428 there" in text


def test_hosts_that_differ_in_the_same_way_stand_together(make):
    here = make["host"](1)
    others = [make["host"](number, microcode="0x428") for number in (10, 9, 8)]
    lines = hosts.details(here, [here, *others], 78, UNICODE)
    text = [plain(each).rstrip() for each in lines]
    at = text.index("≠ kvm-08, kvm-09, kvm-10")
    assert text[at + 1].split() == ["microcode", "0x42e", "here,", "0x428", "there"]
    assert "".join(text).count("0x428") == 1


def test_a_dead_host_shows_no_figures_and_says_why(make):
    reason = "kvm-04 has lost its health key since 11:58:12"
    host = make["host"](4, status=HostStatus.OFFLINE, status_reason=reason, meters=None)
    assert hosts.memory(host, 12, UNICODE).text == "-/24G"
    assert hosts.memory(host, 20, UNICODE).text == "no figures/24G"
    assert reason in [plain(each) for each in hosts.details(host, [host], 78, UNICODE)]


def test_every_state_has_a_glyph_and_a_word(make):
    hosts_in_each = [make["host"](1, status=each) for each in HostStatus]
    for glyphs in (UNICODE, ASCII):
        spans = [
            *(host_span(each, glyphs) for each in hosts_in_each),
            *(incident_span(each, glyphs) for each in IncidentState),
            *(rescue_span(each, glyphs) for each in RescueState),
            *(server_span(each, glyphs) for each in ServerStatus),
            *(migration_span(each, glyphs) for each in MigrationState),
        ]
        assert all(len(span.text.split(" ", 1)) == 2 for span in spans)
    glyph_of = {each.status: host_span(each, UNICODE).text[0] for each in hosts_in_each}
    assert len(set(glyph_of.values())) == len(HostStatus)


def test_where_a_server_may_go(make):
    one = make["server"](1, "web-1", 1, target_host_names=("kvm-10", "kvm-2"))
    assert servers.may_go_to(one, UNICODE).text == "kvm-2, kvm-10"
    nowhere = msgspec.structs.replace(one, target_host_names=())
    assert servers.may_go_to(nowhere, UNICODE).text == "✖ nowhere"
    stopped = msgspec.structs.replace(one, status=ServerStatus.READY)
    assert servers.may_go_to(stopped, UNICODE).text == "kvm-2, kvm-10"
    unknown = msgspec.structs.replace(nowhere, status=ServerStatus.UNKNOWN)
    assert servers.may_go_to(unknown, UNICODE).text == "-"


def history_of(detail: MigrationDetail, samples: int) -> History:
    return History(
        samples=detail.samples[:samples],
        passes=detail.migration.passes,
        memory_bytes=detail.migration.statistics.memory_total_bytes,
        downtime_limit_ms=300,
    )


@pytest.mark.parametrize("width", [60, 80, 124, 250])
@pytest.mark.parametrize("height", [6, 11, 14, 40])
def test_curves_fit_their_room(busy, graph: GraphStyle, width, height):
    for count in (1, 2, 40, len(busy.samples)):
        lines = curve_lines(history_of(busy, count), width, height, graph, glyphs_of(graph))
        assert len(lines) == height
        assert all(length(each) <= width for each in lines)


def test_curves_say_what_they_show(busy):
    lines = curve_lines(history_of(busy, 60), 100, 20, GraphStyle.BRAILLE, UNICODE)
    text = "\n".join(plain(each) for each in lines)
    assert "of 257 MiB" in text
    assert "fit into 300 ms" in text
    assert "dirty rate 4" in text
    assert "bandwidth 4" in text
    assert "ratio 0.9" in text
    assert "fits┤" in text


def test_every_pass_boundary_is_on_the_axis(busy):
    lines = curve_lines(history_of(busy, 60), 200, 20, GraphStyle.BRAILLE, UNICODE)
    axis = plain(lines[-2])
    assert [number for number in range(2, 7) if f"┴{number}" in axis] == [2, 3, 4, 5, 6]


def test_without_samples_the_passes_draw_the_curve(busy):
    history = msgspec.structs.replace(history_of(busy, 0), samples=())
    lines = curve_lines(history, 100, 20, GraphStyle.BLOCK, UNICODE)
    drawn = "".join(plain(each) for each in lines[1:8])
    assert "█" in drawn


def test_the_ascii_style_needs_no_unicode(busy):
    lines = curve_lines(history_of(busy, 60), 100, 20, GraphStyle.ASCII, ASCII)
    assert all(plain(each).isascii() for each in lines)


def test_a_pass_is_one_line_that_fits(busy):
    for width in (60, 80, 120):
        lines = pass_lines(busy.migration.passes, width)
        assert len(lines) == len(busy.migration.passes)
        assert all(length(each) <= width for each in lines)


def test_the_pass_under_way_grows_with_the_samples(busy, make):
    cut = make["cut_short"](busy, 30)
    passes = with_pass_under_way(cut.migration.passes, cut.samples)
    now, last = passes[-1], cut.samples[-1]
    assert now.number == last.pass_number
    assert now.started_ms + now.duration_ms == last.elapsed_ms
    assert [each.number for each in passes] == list(range(1, now.number + 1))
    assert now.transferred_bytes < passes[1].transferred_bytes


def test_an_expected_downtime_above_the_limit_is_marked(busy):
    found = dict(figures(history_of(busy, 60), UNICODE))
    assert found["expected downtime"].text.endswith("▲ over")


def test_no_expected_downtime_before_a_dirty_rate_is_known(busy):
    history = history_of(busy, 60)
    unknown = msgspec.structs.replace(
        history.last, pass_number=2, dirty_bytes_per_s=0, expected_downtime_ms=300
    )
    early = msgspec.structs.replace(history, samples=(unknown,))
    assert dict(figures(early, UNICODE))["expected downtime"].text == "-"


def test_no_verdict_on_the_downtime_against_the_line_of_what_fits(busy):
    history = history_of(busy, 60)
    much = msgspec.structs.replace(
        history.last, expected_downtime_ms=200, memory_remaining_bytes=1 << 30
    )
    found = dict(figures(msgspec.structs.replace(history, samples=(much,)), UNICODE))
    assert found["expected downtime"].text == "200 ms"


def host_columns(**given: object):
    """The columns of the Hosts view; no host is marked or emptied unless told otherwise."""
    asked = {
        "under_cursor": lambda: None,
        "evacuation_of": lambda _: None,
        "is_marked": lambda _: False,
    }
    return hosts.columns(UNICODE, **{**asked, **given})


def test_a_mark_stands_at_the_edge_of_the_name(make):
    columns = {each.key: each for each in host_columns(is_marked=lambda _: True)}
    assert columns["name"].cell(make["host"](1), 9).text == "kvm-01  *"


@pytest.mark.parametrize(
    ("view", "evacuation", "text"),
    [
        ({}, None, "● online"),
        ({"policy": HostPolicy(maintenance=True)}, None, "○ maintenance"),
        ({"policy": HostPolicy(maintenance=True)}, course(), "◐ 4 to leave"),
        ({}, course(kind=EvacuationKind.RETURN), "◐ 4 to come"),
        ({}, course(state=EvacuationState.PAUSED), "▲ 4 to leave"),
        ({"status": HostStatus.OFFLINE, "dead": True}, course(), "✖ dead 4 left"),
        ({"late": True, "policy": HostPolicy(maintenance=True)}, None, "▲ late"),
    ],
)
def test_a_host_says_that_it_is_emptied_unless_it_is_not_well(make, view, evacuation, text):
    assert hosts.condition(make["host"](1, **view), evacuation, UNICODE).text == text


def test_what_runs_on_a_host_that_is_not_online_is_not_known(make):
    columns = {each.key: each for each in host_columns()}
    lost = make["host"](4, status=HostStatus.OFFLINE, running_server_count=0, server_count=2)
    assert columns["servers"].cell(lost, 4).text == "?/2"
    assert columns["servers"].cell(make["host"](1), 4).text == "2/3"


def test_the_memory_bar_keeps_its_width(make):
    texts = [
        hosts.memory(
            make["host"](1, meters=HostMeters(cpu_percent=7.5, memory_used_bytes=used << 20)),
            12,
            UNICODE,
        ).text
        for used in (2970, 3072, 20480)
    ]
    assert len({text.count("█") + text.count("░") for text in texts}) == 1


def test_the_ending_has_the_real_downtime_and_where_the_server_is(busy):
    text = "\n".join(plain(each) for each in ending_lines(busy.migration, 78, UNICODE))
    assert "✔ succeeded: busy-1 runs on kvm-02" in text
    assert "downtime    289 ms (limit 300 ms)" in text
    assert "2.1 GiB sent in 22 passes" in text


def test_a_pause_longer_than_the_limit_is_said(busy):
    statistics = Statistics(downtime_ms=380)
    migration = msgspec.structs.replace(busy.migration, statistics=statistics)
    text = "\n".join(plain(each) for each in ending_lines(migration, 78, UNICODE))
    assert "downtime    380 ms ▲ over the limit of 300 ms" in text


def test_an_error_is_shown_in_full_line_by_line(fleet):
    failed = fleet.migrations[1]
    text = [plain(each) for each in ending_lines(failed, 40, UNICODE)]
    assert "".join(text).replace(" ", "").find("Unabletowritetosocket:Brokenpipe") > 0
    assert "Check the link between kvm-03 and" in text
