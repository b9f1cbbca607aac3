"""A host stays who it is, whatever its libvirtd makes up."""

import pytest

from hostagent.identity import Identity
from wire.errors import GodwitError


def test_the_first_uuid_holds_for_later_agents(tmp_path):
    state_dir = tmp_path / "state"
    Identity(state_dir).require("host-1")
    Identity(state_dir).require("host-1")
    with pytest.raises(GodwitError, match=r"calls this host host-2, and it is host-1 .*host-id"):
        Identity(state_dir).require("host-2")
    Identity(state_dir).require("host-1")


def test_a_uuid_that_cannot_be_kept_is_not_used(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(GodwitError, match=r"cannot be kept in .*host-id"):
        Identity(tmp_path / "state").require("host-1")
