"""What is never deleted, where a real libvirt or two real hosts pass the moment too quickly."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import libvirt
import msgspec
import pytest

from hostagent.copies import domains
from hostagent.copies.clearing import Clearing
from hostagent.copies.exports import ExportRecord, Exports, FileState
from hostagent.copies.healing import Healing
from hostagent.copies.here import Here
from hostagent.copies.incoming import ArrivingFile, IncomingRecord
from hostagent.copies.leaving import Outgoing
from hostagent.copies.records import Records
from hostagent.copies.room import Room
from hostagent.domain import Definition, State
from hostagent.guest import Guest
from hostagent.movable import require_all_copied
from wire.agent import MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.etcd import KeyValue
from wire.fleet import Disk, Owner, OwnerPhase, PowerState, ServerRecord
from wire.migration import Migration, MigrationOptions, MigrationState
from wire.storage import Export, ExportCommand, FileRole, IncomingFile, PrepareCommand


class Domain:
    """A domain that a person may start just before it is undefined."""

    def __init__(self, *, started: bool) -> None:
        self.started, self.defined = started, True

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - libvirt's name
        assert flags & libvirt.VIR_DOMAIN_XML_INACTIVE
        return "<domain/>"

    def undefineFlags(self, _: int) -> None:  # noqa: N802 - libvirt's name
        self.defined = False

    def lookupByUUIDString(self, _: str) -> "Domain":  # noqa: N802 - libvirt's name
        if not (self.defined or self.started):
            error = libvirt.libvirtError("gone")
            error.err = (libvirt.VIR_ERR_NO_DOMAIN, 0, "gone", 0, "", "", "", 0, 0)
            raise error
        return self

    def defineXML(self, xml: str) -> None:  # noqa: N802 - libvirt's name
        assert xml == "<domain/>"
        self.defined = True


def test_a_domain_that_was_just_started_stays_defined():
    on = Domain(started=True)
    with pytest.raises(GodwitError, match="was just started: its files stay") as refused:
        domains.undefine_stopped(on, "s1")
    assert (refused.value.code, on.defined) == (ErrorCode.CONFLICT, True)
    off = Domain(started=False)
    domains.undefine_stopped(off, "s1")
    assert not off.defined


def test_a_local_disk_without_room_on_the_target_keeps_its_guest_here():
    shared, local, cdrom = (
        Disk(target="vda", source="/s/a.img", shared=True),
        Disk(target="vdb", source="/l/b.img"),
        Disk(target="sda", source="/l/c.iso", device="cdrom"),
    )
    guest = Guest(
        definition=Definition(
            server_id="s1",
            name="web",
            vcpu_count=1,
            memory_bytes=1,
            machine="",
            virt_type="",
            cpu_model="",
            disks=(),
        ),
        saved_xml="",
        state=State(power=PowerState.RUNNING, detail=""),
        incoming=False,
        job_active=False,
    )
    command = MigrateCommand(
        migration_id="m1",
        server_id="s1",
        generation=1,
        target_host_id="host-2",
        target_host_name="kvm-02",
        target_libvirt_uri="",
        target_address="",
        options=MigrationOptions(),
    )
    require_all_copied(guest, (shared, cdrom), command)
    with pytest.raises(GodwitError, match=r"'vdb' \(/l/b.img\).*kvm-02 made no room"):
        require_all_copied(guest, (shared, local), command)
    there = IncomingFile(source_path="/l/b.img", path="/l/b.img", role=FileRole.DISK)
    there = msgspec.structs.replace(there, disk_target="vdb")
    require_all_copied(guest, (shared, local), msgspec.structs.replace(command, disks=(there,)))


@pytest.fixture
def config(tmp_path):
    return SimpleNamespace(state_dir=tmp_path / "state")


async def test_files_written_after_their_export_was_closed_are_newer_than_any_copy(
    config, tmp_path
):
    path = tmp_path / "web.img"
    path.write_bytes(b"before")
    state = FileState(file_bytes=6, modified_ns=path.stat().st_mtime_ns)
    record = ExportRecord(
        command=ExportCommand(migration_id="m1", server_id="s1", generation=1, paths=(str(path),)),
        server_name="web",
        export=Export(migration_id="m1", server_id="s1", port=0, names={}),
        states={str(path): state},
        process=None,
    )
    Records(config.state_dir / "exports", ExportRecord).write("m1", record)
    exports = Exports(config)
    await exports.load()
    await exports.require_unchanged("m1")
    await exports.require_unchanged("unknown")
    path.write_bytes(b"afterwards")
    with pytest.raises(GodwitError, match=r"web.img was changed while it was copied"):
        await exports.require_unchanged("m1")


async def test_a_start_after_the_export_was_closed_makes_the_copy_void(config):
    record = ExportRecord(
        command=ExportCommand(migration_id="m1", server_id="s1", generation=1, paths=()),
        server_name="web",
        export=Export(migration_id="m1", server_id="s1", port=0, names={}),
        states={},
        process=None,
    )
    Records(config.state_dir / "exports", ExportRecord).write("m1", record)
    exports = Exports(config)
    await exports.load()
    exports.server_started("s1")
    with pytest.raises(GodwitError, match="'web' was started while it was copied"):
        await exports.require_unchanged("m1")
    # another agent knows it too, and what is forgotten is not written again
    await exports.close("m1")
    await asyncio.gather(*exports._keeping)
    later = Exports(config)
    await later.load()
    assert "was started" in later.find("m1").export.changed
    later.mark_changed("m1", "and another reason")
    await later.forget("m1")
    await asyncio.gather(*later._keeping)
    assert Records(config.state_dir / "exports", ExportRecord).read_all() == {}


class Pulls:
    async def forget(self, _: str) -> None:
        """Nothing is pulled here."""


class Ownership:
    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    async def record(self, server_id: str) -> ServerRecord:
        return ServerRecord(
            server_id=server_id,
            name="web",
            vcpu_count=1,
            memory_bytes=1,
            disks=(),
            owner=self.owner,
            wanted_on=False,
        )


class Driver:
    async def truth(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(state=PowerState.ABSENT)

    async def call(self, *_: object, **__: object) -> None:
        """Pools are refreshed."""


@pytest.fixture
def ownership() -> Ownership:
    return Ownership(Owner(host_id="host-9", epoch=1, generation=1))


@pytest.fixture
def room(config, make_facts, ownership) -> Room:
    inventory = SimpleNamespace(facts=make_facts())
    here = Here(config=config, driver=Driver(), inventory=inventory, ownership=ownership)
    return Room(here, Pulls())


def came(path: str, *, migration_id: str = "m1", server_id: str = "s1") -> IncomingRecord:
    command = PrepareCommand(
        migration_id=migration_id,
        server_id=server_id,
        server_name=f"name-{server_id}",
        generation=1,
        kind="live",
        files=(),
    )
    file = IncomingFile(source_path=path, path=path, role=FileRole.DISK)
    arriving = ArrivingFile(file=file, pool_name="local", partial_path="", made=True)
    return IncomingRecord(command=command, files=(arriving,))


async def test_two_servers_are_never_given_the_same_name_for_a_file(room):
    await room.write(came("/pool/disk.img"))
    other = came("/pool/disk.img", migration_id="m2", server_id="s2")
    with pytest.raises(GodwitError, match=r"/pool/disk.img on kvm-01 is held for 'name-s1'"):
        await room.require_unclaimed(other)
    await room.require_unclaimed(came("/pool/else.img", migration_id="m2", server_id="s2"))


@pytest.mark.parametrize(("owner", "stays"), [("host-1", True), ("host-9", False)])
async def test_disks_of_a_server_that_is_defined_again_here_are_no_leftovers(
    room, ownership, tmp_path, owner, stays
):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"the newest that there is")
    await room.write(came(str(disk)))
    ownership.owner = Owner(host_id=owner, epoch=1, generation=2, phase=OwnerPhase.MIGRATING)
    again = msgspec.structs.replace(came("").command, migration_id="m2")
    await Clearing(room).leftovers(again)
    assert disk.exists() is stays
    assert await room.all() == {}


class Journal:
    """Etcd with one migration in it."""

    def __init__(self, **fields: object) -> None:
        migration = Migration(
            migration_id="m1",
            server_id="s1",
            server_name="web",
            source_host_id="host-1",
            source_host_name="kvm-01",
            target_host_id="host-2",
            target_host_name="kvm-02",
            generation=1,
            **fields,
        )
        self.value = msgspec.json.encode(migration)

    def get(self, key: str) -> KeyValue:
        return KeyValue(key=key, value=self.value, mod_revision=1)


class Acts:
    """What healing does, as a list."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def outgoing(self) -> dict[str, Outgoing]:
        left = Outgoing(migration_id="m1", server_id="s1", server_name="web", paths=("/l/web",))
        return {"m1": left}

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def act(*_: object) -> None:
            self.done.append(name)

        return act


@pytest.mark.parametrize(
    ("state", "host_id", "generation", "done"),
    [
        (MigrationState.SUCCEEDED, "host-3", 5, ["release"]),
        (MigrationState.FAILED, "host-2", 2, ["release"]),
        (MigrationState.FAILED, "host-2", 4, ["forget"]),
        (MigrationState.FAILED, "host-3", 2, ["forget"]),
        (MigrationState.FAILED, "host-1", 1, ["forget"]),
    ],
)
async def test_a_source_deletes_only_what_a_migration_took_along(
    room, ownership, state, host_id, generation, done
):
    ownership.owner = Owner(host_id=host_id, epoch=1, generation=generation)
    acts = Acts()
    healing = Healing(Journal(state=state), room, source=acts, target=acts, clearing=acts)
    assert await healing.run_once("host-1")
    assert acts.done == done


@pytest.mark.parametrize(
    ("phase", "done"),
    [(OwnerPhase.LOST, []), (OwnerPhase.MIGRATING, []), (OwnerPhase.SETTLED, ["discard"])],
)
async def test_a_target_keeps_the_disks_of_a_server_that_was_lost(room, ownership, phase, done):
    await room.write(came("/pool/disk.img"))
    ownership.owner = Owner(host_id="host-1", epoch=1, generation=1, phase=phase)
    acts = Acts()
    acts.outgoing = nothing  # type: ignore[method-assign]  # this host is only a target
    etcd = Journal(state=MigrationState.FAILED)
    healing = Healing(etcd, room, source=acts, target=acts, clearing=acts)
    await healing.run_once("host-2")
    assert acts.done == done


async def nothing() -> dict[str, Outgoing]:
    return {}


def test_a_record_that_is_removed_while_all_are_read_is_left_out(tmp_path):
    records = Records(tmp_path, IncomingRecord)
    records.write("m1", came("/a"))
    (tmp_path / "m2.json").symlink_to(tmp_path / "gone")
    assert set(records.read_all()) == {"m1"}
