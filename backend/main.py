"""``godwit-backend --config FILE``: puts the drive together and serves until told to stop."""

import argparse
import asyncio
import logging
import secrets
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path

from backend.agents import Agents
from backend.api.app import make_app
from backend.api.context import Context
from backend.audit.entries import Audit
from backend.config import BackendConfig
from backend.duties import Duty, Faults, do_all
from backend.evacuations.desk import EvacuationDesk
from backend.evacuations.means import Means
from backend.evacuations.planning.planner import Sources
from backend.evacuations.records import Evacuations
from backend.evacuations.running.evacuator import Evacuator
from backend.evacuations.running.setting_out import SettingOut
from backend.evacuations.steering import Steering
from backend.events import Broadcaster
from backend.fleet.cpus import Comparisons
from backend.fleet.known import Fleet
from backend.follow.store import Follower
from backend.follow.streams import Streams
from backend.freezing import freeze_first_state
from backend.health.channels import channels
from backend.health.departures import Departures
from backend.health.leases import Leases
from backend.health.policies import Policies
from backend.health.report import Reporter
from backend.health.teller import Teller
from backend.leader import Leadership
from backend.leader_writes import LeaderWrites
from backend.migrations.acts import Acts
from backend.migrations.desk import Desk
from backend.migrations.drive import Drive
from backend.migrations.forgetting import Forgetter
from backend.migrations.jobs import Jobs
from backend.migrations.journal import Journal
from backend.migrations.leading import Leader
from backend.migrations.leftovers import Leftovers
from backend.migrations.notes import noted
from backend.migrations.settling import Settler
from backend.publish import Publisher
from backend.rescue.claims import Claims
from backend.rescue.desk import RescueDesk
from backend.rescue.incidents import Incidents
from backend.rescue.rescuer import Rescuer
from backend.rescue.sight import Sight
from backend.rescue.starting import Starting
from backend.tokens import load_tokens
from wire.config import ConfigError, load_config, read_token
from wire.console import MigrationSample
from wire.etcd import Etcd
from wire.migration import Sample
from wire.server import serve
from wire.tls import client_context


async def run(config: BackendConfig) -> None:
    """Run one backend until SIGTERM.

    Raises:
        ConfigError: a file that the configuration names cannot be used.
    """
    tokens = load_tokens(config.tokens_file)
    etcd = Etcd(config.etcd)
    fleet, jobs, broadcaster = Fleet(), Jobs(), Broadcaster(secrets.token_hex(4))
    agents = Agents(
        fleet.facts,
        context=client_context(config.tls),
        token=read_token(config.agent_token_file),
    )
    comparisons = Comparisons(agents)
    publisher = Publisher(fleet, jobs, broadcaster, comparisons)

    def on_sample(migration_id: str, sample: Sample) -> None:
        broadcaster.publish("sample", MigrationSample(migration_id=migration_id, sample=sample))

    def on_status() -> None:
        fleet.changes.status = True
        fleet.changes.wake.set()

    faults = Faults(on_status)
    leadership = Leadership(etcd, config.name)
    writes, journal = LeaderWrites(etcd, leadership), Journal(etcd, leadership, fleet)
    drive = Drive(fleet=fleet, agents=agents, jobs=jobs, journal=journal, comparisons=comparisons)
    wake = asyncio.Event()
    leases = Leases(etcd, fleet)
    claims, incidents = Claims(writes, journal, fleet), Incidents(writes, fleet)
    starting = Starting(drive, claims, wake)
    rescuer = Rescuer(drive, incidents, claims, Sight(leases), starting, faults=faults)
    leader, desk = Leader(drive, claims, wake, faults), Desk(drive, leadership, wake)
    acts, policies = Acts(drive, leadership), Policies(writes, fleet, leadership)
    departures, leftovers = Departures(fleet, desk, acts), Leftovers(drive)
    rescue_desk = RescueDesk(drive, leadership, rescuer, incidents, starting)
    sources = Sources(
        fleet=fleet,
        comparisons=comparisons,
        jobs=jobs,
        definition=journal.definition,
    )
    evacuations = Evacuations(writes, fleet)
    setting_out = SettingOut(drive, desk, rescue_desk)
    evacuator = Evacuator(drive, sources, evacuations, acts, setting_out, faults=faults)
    means = Means(
        fleet=fleet,
        leadership=leadership,
        sources=sources,
        records=evacuations,
        evacuator=evacuator,
    )

    audit = Audit(writes, fleet)

    async def lead() -> None:
        duties: dict[str, Callable[[], Awaitable[object]]] = {
            Duty.MIGRATIONS: leader.lead,
            Duty.RESCUES: rescuer.lead,
            Duty.DEPARTURES: departures.lead,
            Duty.EVACUATIONS: evacuator.lead,
            Duty.LEFTOVERS: leftovers.lead,
            Duty.AUDIT: audit.lead,
        }
        await do_all(duties, faults)

    context = Context(
        version=version("godwit"),
        fleet=fleet,
        agents=agents,
        jobs=jobs,
        publisher=publisher,
        broadcaster=broadcaster,
        comparisons=comparisons,
        desk=desk,
        acts=acts,
        settler=Settler(drive, leadership),
        forgetter=Forgetter(drive, writes, leadership),
        policies=policies,
        reporter=Reporter(etcd, fleet),
        rescue_desk=rescue_desk,
        evacuation_desk=EvacuationDesk(means, policies),
        steering=Steering(means, acts),
        audit=audit,
        leadership=leadership,
        faults=faults,
    )
    follower = Follower(etcd, fleet)
    teller = Teller(
        fleet,
        leadership,
        channels(config.notify),
        lambda incident_id, text: incidents.change(incident_id, lambda one: noted(one, text)),
    )
    streams = Streams(agents, fleet, jobs, on_sample)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(follower.run()),
                group.create_task(leases.run()),
                group.create_task(teller.run()),
                group.create_task(streams.run()),
                group.create_task(publisher.run()),
                group.create_task(leadership.run(lead, on_status)),
                group.create_task(freeze_first_state(fleet)),
            ]
            await serve(
                make_app(context, tokens),
                listen=config.listen,
                tls=config.tls,
                on_stop=broadcaster.close,
            )
            for task in tasks:
                task.cancel()
    finally:
        await asyncio.to_thread(etcd.close)


def main() -> None:
    """Entry point of the program; exit status 1 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="godwit-backend", description="Godwit's backend")
    parser.add_argument("--config", type=Path, required=True, help="TOML file")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(run(load_config(arguments.config, BackendConfig)))
    except ConfigError as error:
        sys.exit(f"godwit-backend: {error}")


if __name__ == "__main__":
    main()
