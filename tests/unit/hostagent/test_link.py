"""What a card says of its speed."""

import pytest

from hostagent.link import card_bytes_per_s, interface_of, link_bytes_per_s


@pytest.mark.parametrize(
    ("speed", "bytes_per_s"),
    [("10000\n", 1_250_000_000), ("1000", 125_000_000), ("-1\n", 0), ("", 0), ("unknown", 0)],
)
def test_a_cards_word(speed, bytes_per_s):
    assert card_bytes_per_s(speed) == bytes_per_s


def test_the_interface_of_an_address_of_this_machine():
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") is None


def test_an_interface_that_says_nothing_is_of_unknown_speed():
    assert link_bytes_per_s("127.0.0.1") == 0
    assert link_bytes_per_s("192.0.2.1") == 0
