from collections import Counter

import pytest

from tui.actions import ACTIONS, actions_at, bindings, footer_actions, is_dangerous
from tui.acts import MAKERS
from tui.evacuation_acts import MAKERS as STEERING
from tui.paint import length, plain
from tui.places import Place
from tui.views.keys import footer, help_lines

VIEWS = (
    Place.HOSTS,
    Place.SERVERS,
    Place.MIGRATIONS,
    Place.MIGRATION,
    Place.HEALTH,
    Place.INCIDENTS,
    Place.INCIDENT,
    Place.EVACUATIONS,
    Place.EVACUATION,
    Place.PLAN,
)


@pytest.mark.parametrize("place", list(Place))
def test_no_key_means_two_things_in_one_place(place: Place):
    keys = [key for action in actions_at(place, writable=True) for key in action.keys.split(",")]
    assert [key for key, times in Counter(keys).items() if times > 1] == []


def test_keys_that_change_something_are_upper_case():
    dangerous = [action for action in ACTIONS if action.dangerous]
    about_hosts = {"auto_migrate", "declare_off", "guard", "priority"}
    emptying = {"maintenance", "run_plan", "edit", *STEERING}
    acts = {"migrate", "settle", *about_hosts, *emptying, *MAKERS}
    assert {action.run for action in dangerous} == acts
    assert all(action.keys.isupper() for action in dangerous)


@pytest.mark.parametrize("place", list(Place))
def test_read_only_has_no_key_that_changes_something(place: Place):
    shown = [*actions_at(place, writable=False), *footer_actions(place, writable=False)]
    assert not any(action.dangerous for action in shown)
    text = "\n".join(plain(each) for each in help_lines(place, 100, writable=False))
    assert "Migrate" not in plain(footer(place, 200, writable=False))
    assert "Abort" not in text


@pytest.mark.parametrize("place", list(Place))
def test_footer_and_help_speak_of_bound_keys_only(place: Place):
    bound = {key for binding in bindings(place) for key in binding.key.split(",")}
    for action in actions_at(place, writable=True):
        assert set(action.keys.split(",")) <= bound
        if action.footer or action.help:
            assert action.label


@pytest.mark.parametrize("place", VIEWS)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_footer_fits_and_always_has_the_help(place: Place, width: int):
    shown = footer(place, width, writable=True)
    assert length(shown) <= width
    assert "? Keys" in plain(shown)


def test_every_view_of_the_help_is_two_screens_of_a_small_terminal_at_most():
    for place in VIEWS:
        lines = help_lines(place, 80, writable=True)
        assert len(lines) <= 32
        assert all(length(each) <= 80 for each in lines)


def test_danger_goes_by_the_action_not_the_key():
    assert is_dangerous("migrate")
    assert not is_dangerous("filter")
