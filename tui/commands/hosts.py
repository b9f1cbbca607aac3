"""``host-list`` and ``host-show``."""

import click

from tui.commands.options import json_option
from tui.commands.output import print_json, print_list, print_record
from tui.commands.session import look
from tui.formats.health import fence_text, policy_text, seen_word
from tui.formats.table import Column
from tui.formats.units import bytes_text, mebibytes, moment_text
from wire.fleet import HostStatus, HostView, StoragePool

_BRIEF = (
    Column("ID", least=9),
    Column("Name", least=8),
    Column("Access_ip"),
    Column("enabled"),
    Column("host_status"),
    Column("health"),
    Column("Guests", right=True),
    Column("Running_guests", right=True),
    Column("mem_size", right=True),
)
_MORE = (
    Column("evacuation"),
    Column("mem_used", right=True),
    Column("mem_commit", right=True),
    Column("cpu_count", right=True),
    Column("hypervisor"),
    Column("fence"),
    Column("auto_migrate"),
    Column("microcode"),
    Column("kernel"),
    Column("version"),
    Column("qemu_version"),
    Column("libvirt_version"),
    Column("pools"),
    Column("cpu_model"),
    Column("reason"),
)

_SILENT = {HostStatus.OFFLINE, HostStatus.UNREACHABLE}
"""Nobody knows what runs on such a host."""


@click.command("host-list", short_help="List hosts.")
@click.option(
    "--hypervisor", type=click.Choice(["kvm"]), help="Only hosts that run this hypervisor."
)
@click.option("--search", metavar="TEXT", default="", help="Only names, ids and addresses with it.")
@click.option("--details", is_flag=True, help="All columns.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def host_list(*, hypervisor: str | None, search: str, details: bool, as_json: bool) -> None:
    """List hosts. Memory is in MiB.

    One that is not enabled is in maintenance: no server comes to it. One whose health is late may
    be lost soon; one that is dead is proven or declared to be off. auto_migrate says when its
    servers leave it by themselves.
    """
    hosts = [
        host
        for host in look(lambda client: client.hosts())
        if hypervisor in {None, host.facts.hypervisor} and _matches(host, search.casefold())
    ]
    hosts.sort(key=lambda host: host.facts.name)
    if as_json:
        print_json(hosts)
    elif details:
        print_list(_BRIEF + _MORE, [_brief(host) + _more(host) for host in hosts])
    else:
        print_list(_BRIEF, [_brief(host) for host in hosts])


@click.command("host-show", short_help="Show one host.")
@json_option
@click.argument("host", metavar="ID")
def host_show(*, as_json: bool, host: str) -> None:
    """Show one host: its CPU, versions and storage pools. ID is its name or id."""
    found = look(lambda client: client.host(host))
    if as_json:
        print_json(found)
        return
    facts = found.facts
    used = f"{bytes_text(found.meters.memory_used_bytes)} used of " if found.meters else ""
    running = "?" if found.status in _SILENT else str(found.running_server_count)
    told = [
        ("id", facts.host_id),
        ("name", facts.name),
        ("status", found.status),
        ("health", seen_word(found)),
        ("reason", found.status_reason),
        ("incident", found.incident_id),
        ("last heard", moment_text(found.seen_at_ms)),
        ("evacuation", found.evacuation_id),
        ("enabled", "false, in maintenance" if found.policy.maintenance else "true"),
        ("address", facts.address),
        ("servers", f"{found.server_count}, {running} of them running"),
        ("memory", f"{used}{bytes_text(facts.memory_total_bytes)}"),
        ("cpu", f"{facts.cpu_model_name}, {facts.cpu_count} CPUs, {facts.cpu_architecture}"),
        ("microcode", facts.microcode),
        ("libvirt's cpu", " ".join([facts.libvirt_cpu_model, *facts.cpu_features])),
        ("kernel", facts.kernel),
        ("hypervisor", f"{facts.hypervisor} ({', '.join(facts.virt_types)})"),
        ("versions", _versions(found)),
        ("post-copy", "can receive" if facts.postcopy else "cannot receive"),
        ("fence", fence_text(found.health)),
        ("auto-migrate", policy_text(found.policy)),
        *((f"pool {pool.name}", _pool_text(pool)) for pool in facts.pools),
    ]
    print_record([(name, value) for name, value in told if value])


def _versions(host: HostView) -> str:
    facts = host.facts
    return (
        f"agent {facts.agent_version}, QEMU {facts.qemu_version}, libvirt {facts.libvirt_version}"
    )


def _pool_text(pool: StoragePool) -> str:
    kind = "shared" if pool.shared else "local"
    room = f"{bytes_text(pool.available_bytes)} free of {bytes_text(pool.capacity_bytes)}"
    return f"{kind}, {room}, {pool.path}"


def _matches(host: HostView, text: str) -> bool:
    facts = host.facts
    return any(text in field.casefold() for field in (facts.host_id, facts.name, facts.address))


def _brief(host: HostView) -> tuple[str, ...]:
    return (
        host.facts.host_id,
        host.facts.name,
        host.facts.address,
        "false" if host.policy.maintenance else "true",
        host.status,
        seen_word(host),
        str(host.server_count),
        "?" if host.status in _SILENT else str(host.running_server_count),
        mebibytes(host.facts.memory_total_bytes),
    )


def _more(host: HostView) -> tuple[str, ...]:
    facts = host.facts
    return (
        host.evacuation_id,
        mebibytes(host.meters.memory_used_bytes) if host.meters else "",
        mebibytes(host.server_memory_bytes),
        str(facts.cpu_count),
        facts.hypervisor,
        fence_text(host.health),
        policy_text(host.policy),
        facts.microcode,
        facts.kernel,
        facts.agent_version,
        facts.qemu_version,
        facts.libvirt_version,
        ",".join(f"{pool.name}:{'shared' if pool.shared else 'local'}" for pool in facts.pools),
        facts.cpu_model_name,
        host.status_reason,
    )
