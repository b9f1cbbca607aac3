"""What operators want otherwise about single servers: it holds, or is refused in one sentence."""

import pytest

from tests.unit.backend.evacuations.planned import Planned, line
from wire.errors import ErrorCode, GodwitError
from wire.evacuation import MoveOptions, PlanEdit, Way
from wire.fleet import PowerState


@pytest.fixture
def town():
    town = Planned(hosts=4)
    town.server("web-1")
    town.server("web-2")
    town.server("off-1", state=PowerState.SHUT_OFF)
    town.server("other-1", on=4)
    return town


async def refusal(town: Planned, *edits: PlanEdit, hosts=(1,), **request: object) -> GodwitError:
    with pytest.raises(GodwitError) as refused:
        await town.plans(*hosts, edits=edits, **request)
    return refused.value


async def test_a_pinned_target_holds_although_others_weigh_more(town):
    town.host(2, free_gib=60)
    assert line(await town.plan(), "web-1").target_host_name == "kvm-02"
    made = await town.plan(edits=(PlanEdit(server="web-1", target="kvm-03"),))
    move = line(made, "web-1")
    assert (move.target_host_name, move.pinned) == ("kvm-03", True)
    assert not line(made, "web-2").pinned


async def test_an_empty_target_takes_the_wish_back(town):
    town.host(2, free_gib=60)
    edits = (PlanEdit(server="web-1", target="kvm-03"), PlanEdit(server="web-1", target=""))
    move = line(await town.plan(edits=edits), "web-1")
    assert (move.target_host_name, move.pinned) == ("kvm-02", False)


async def test_a_pinned_one_gets_the_room_before_larger_ones(town):
    town.host(2, free_gib=4)
    town.host(3, free_gib=0)
    town.host(4, free_gib=0)
    town.server("large", gib=4)
    assert line(await town.plan(), "large").way is Way.LIVE
    made = await town.plan(edits=(PlanEdit(server="web-1", target="kvm-02"),))
    assert line(made, "web-1").way is Way.LIVE
    assert line(made, "large").way is Way.STAYS


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda town: town.maintenance(3), "kvm-03 is in maintenance"),
        (lambda town: town.host(3, free_gib=0.5), "kvm-03 has 512 MiB free"),
        (
            lambda town: town.host(3, microcode="0x428"),
            "microcode 0x42e on kvm-01, 0x428 on kvm-03",
        ),
        (lambda town: town.dies(3, proven=True), "kvm-03 is offline"),
        (lambda town: town.evacuation(3), "kvm-03 is being emptied (evacuation e-1)"),
    ],
)
async def test_a_pinned_target_that_takes_it_not_makes_it_stay_and_says_why(town, prepare, words):
    prepare(town)
    move = line(await town.plan(edits=(PlanEdit(server="web-1", target="kvm-03"),)), "web-1")
    assert (move.way, move.target_host_id, move.pinned) == (Way.STAYS, "", True)
    assert words in move.why


async def test_staying_is_a_wish_and_can_be_taken_back(town):
    stays = PlanEdit(server="web-1", way=Way.STAYS)
    made = await town.plan(edits=(stays,))
    move = line(made, "web-1")
    assert (move.way, move.chosen_way) == (Way.STAYS, True)
    assert not any("web-1" in one for one in made.warnings)
    made = await town.plan(edits=(stays, PlanEdit(server="web-1", way=Way.LIVE)))
    assert line(made, "web-1").way is Way.LIVE


async def test_if_all_are_to_stay_nothing_can_be_started(town):
    edits = tuple(PlanEdit(server=one, way=Way.STAYS) for one in ("web-1", "web-2", "off-1"))
    made = await town.plan(edits=edits)
    assert made.refusals == ("an operator wants every server of kvm-01 to stay",)


async def test_options_of_one_server_stand_over_those_of_all(town):
    made = await town.plan(
        options=MoveOptions(enable_tls=True, downtime_limit_ms=500),
        edits=(
            PlanEdit(server="web-1", options=MoveOptions(downtime_limit_ms=900)),
            PlanEdit(server="web-1", options=MoveOptions(quickly_finish=True)),
        ),
    )
    own, common = line(made, "web-1").options, line(made, "web-2").options
    assert (own.enable_tls, own.downtime_limit_ms, own.quickly_finish) == (True, 900, True)
    assert (common.enable_tls, common.downtime_limit_ms, common.quickly_finish) == (
        True,
        500,
        False,
    )
    assert line(made, "off-1").options.enable_tls is False


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (PlanEdit(server="web-9"), ErrorCode.NOT_FOUND, "no server is called 'web-9'"),
        (
            PlanEdit(server="other-1", way=Way.STAYS),
            ErrorCode.BAD_REQUEST,
            "other-1 is on kvm-04, and the plan is for kvm-01",
        ),
        (
            PlanEdit(server="web-1", target="kvm-77"),
            ErrorCode.NOT_FOUND,
            "no host is called 'kvm-77'",
        ),
        (
            PlanEdit(server="web-1", target="kvm-01"),
            ErrorCode.BAD_REQUEST,
            "web-1 is on kvm-01 already",
        ),
        (
            PlanEdit(server="off-1", way=Way.LIVE),
            ErrorCode.BAD_REQUEST,
            "off-1 is stopped (ready), and a live migration needs it running or paused",
        ),
        (
            PlanEdit(server="web-1", way=Way.COLD),
            ErrorCode.BAD_REQUEST,
            "web-1 is running, and a cold migration needs it stopped",
        ),
        (
            PlanEdit(server="web-1", way=Way.RESCUE),
            ErrorCode.BAD_REQUEST,
            "way of web-1 is rescue, and kvm-01 is not dead",
        ),
        (
            PlanEdit(server="web-1", options=MoveOptions(downtime_limit_ms=0)),
            ErrorCode.BAD_REQUEST,
            "downtime_limit_ms is 0",
        ),
    ],
)
async def test_an_edit_that_makes_no_sense_is_refused_in_one_sentence(town, edit, code, words):
    error = await refusal(town, edit)
    assert error.code is code
    assert words in error.message


async def test_a_target_that_is_emptied_together_is_refused(town):
    error = await refusal(town, PlanEdit(server="web-1", target="kvm-02"), hosts=(1, 2))
    assert error.message == "web-1 cannot go to kvm-02, which is emptied together with kvm-01"


async def test_options_of_all_are_checked_too(town):
    error = await refusal(town, options=MoveOptions(downtime_limit_ms=-3))
    assert "downtime_limit_ms is -3" in error.message


async def test_a_name_that_others_bear_too_means_the_planned_one(town):
    town.server("twin")
    town.server("twin", on=4, server_id="id-other-twin")
    made = await town.plan(edits=(PlanEdit(server="twin", way=Way.STAYS),))
    assert (line(made, "twin").server_id, line(made, "twin").way) == ("id-twin", Way.STAYS)
