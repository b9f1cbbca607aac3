"""The command line starts fast and alone: what each verb imports, seen in a process of its own."""

import subprocess
import sys

import pytest

PROGRAMS = ("backend", "hostagent", "lab")
FOREIGN = ("textual", "pygments", "libvirt", "etcd3", "litestar", "uvicorn", *PROGRAMS)
HTTP_STACK = ("httpx", "asyncio")
PROGRAM = """
import sys
from tui.cli import run
status = run(sys.argv[1:])
imported = [name for name, module in sys.modules.items() if module is not None]
print(status, *imported, file=sys.stderr)
"""


def modules_after(*arguments: str, environment: dict[str, str] | None = None) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return {name.partition(".")[0] for name in result.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("host-list", "--help"),
        ("server-live-migrate", "--help"),
        ("server-migrate", "--max-bandwidth-mb", "0", "web-1"),
        ("host-evacuate", "--empty-by", "25:00", "kvm-01"),
        ("evacuation-change", "kvm-01"),
        ("no-such-verb",),
        ("host-list",),
    ],
)
def test_help_and_refusals_do_not_wait_for_the_http_stack(arguments: tuple[str, ...]):
    assert not modules_after(*arguments, environment={}) & {*FOREIGN, *HTTP_STACK}


@pytest.mark.parametrize(
    "arguments",
    [
        ("host-list",),
        ("host-list", "--json"),
        ("server-list",),
        ("migration-list",),
        ("migration-show", "m-1"),
        ("server-migrate-forecast", "--live-migrate", "web-1"),
        ("server-cancel-live-migrate", "web-1"),
        ("server-live-migrate", "web-1"),
        ("server-migrate", "web-1"),
        ("server-switch-to-postcopy", "web-1"),
        ("server-settle", "--keep-host", "kvm-01", "web-1"),
        ("migration-remove-kept", "m-1"),
        ("evacuation-list",),
        ("host-maintenance", "kvm-01"),
    ],
)
def test_no_verb_imports_the_console_or_another_program(
    arguments: tuple[str, ...], environment: dict[str, str]
):
    imported = modules_after(*arguments, environment=environment)
    assert "httpx" in imported
    assert not imported & {*FOREIGN}
