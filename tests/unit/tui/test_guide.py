"""The guide's examples of cold and live migrations, with godwit in place of climc."""

import shlex

import msgspec
import pytest

from tui.cli import godwit, run
from wire.migration import MigrationOptions

pytestmark = pytest.mark.usefixtures("environment")

MIB = 1 << 20
BEGINNINGS = {
    "server-migrate vm1": MigrationOptions(),
    "server-migrate --prefer-host host1 vm1": MigrationOptions(prefer_host="host1"),
    "server-migrate --auto-start vm1": MigrationOptions(auto_start=True),
    "server-migrate --auto-start --prefer-host host1 vm1": MigrationOptions(
        auto_start=True, prefer_host="host1"
    ),
    "server-live-migrate vm1": MigrationOptions(),
    "server-live-migrate --skip-cpu-check vm1": MigrationOptions(skip_cpu_check=True),
    "server-live-migrate --prefer-host host1 --skip-cpu-check vm1": MigrationOptions(
        prefer_host="host1", skip_cpu_check=True
    ),
    "server-live-migrate --prefer-host host1 --skip-cpu-check --max-bandwidth-mb 100 vm1": (
        MigrationOptions(
            prefer_host="host1", skip_cpu_check=True, max_bandwidth_bytes_per_s=100 * MIB
        )
    ),
    "server-live-migrate --prefer-host host1 --skip-cpu-check --max-bandwidth-mb "
    "--quickly-finish vm1": MigrationOptions(
        prefer_host="host1", skip_cpu_check=True, quickly_finish=True
    ),
}
OPTIONS = {
    "server-migrate": ["--auto-start", "--rescue-mode", "--prefer-host PREFER_HOST"],
    "server-live-migrate": [
        "--skip-cpu-check",
        "--skip-kernel-check",
        "--enable-tls",
        "--quickly-finish",
        "--max-bandwidth-mb MAX_BANDWIDTH_MB",
        "--keep-dest-guest-on-failed",
        "--prefer-host PREFER_HOST",
    ],
    "host-auto-migrate-on-host-down": [
        "--auto-migrate-on-host-down [enable|disable]",
        "--auto-migrate-on-host-shutdown [enable|disable]",
    ],
}


@pytest.fixture
def vm1(fleet) -> None:
    """The guide's server."""
    fleet.servers[0] = msgspec.structs.replace(fleet.servers[0], name="vm1")


@pytest.mark.usefixtures("vm1")
@pytest.mark.parametrize("example", BEGINNINGS)
def test_a_migration_of_the_guide_is_begun_as_it_says(example: str, fleet, capsys):
    verb = example.split(maxsplit=1)[0].removeprefix("server-")
    assert run(shlex.split(example)) == 0
    wanted = BEGINNINGS[example]
    assert fleet.bodies == [wanted]
    assert fleet.changed == [f"{verb} vm1 {wanted.prefer_host}".strip()]
    assert capsys.readouterr().out == "m-1\n"


@pytest.mark.usefixtures("vm1")
@pytest.mark.parametrize(
    "example",
    [
        "server-list --search vm1 --details",
        "server-list --search vm1",
        "host-list --hypervisor kvm",
        "server-migrate --help",
        "server-live-migrate --help",
    ],
)
def test_what_the_guide_shows_is_shown(example: str, capsys):
    assert run(shlex.split(example)) == 0
    assert capsys.readouterr().out


@pytest.mark.usefixtures("vm1")
def test_a_cap_without_its_number_is_no_cap_and_is_told(capsys):
    assert run(["server-live-migrate", "--max-bandwidth-mb", "--quickly-finish", "vm1"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "godwit: --max-bandwidth-mb without a number means no cap"


@pytest.mark.parametrize("verb", OPTIONS)
def test_the_help_has_the_guides_options(verb: str, capsys):
    assert run([verb, "--help"]) == 0
    told = capsys.readouterr().out
    for option in OPTIONS[verb]:
        assert option in told


def test_every_verb_has_a_line_in_the_help(capsys):
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for name, command in godwit.commands.items():
        assert name in told
        assert command.short_help in told
