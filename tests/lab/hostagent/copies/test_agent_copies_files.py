"""Chains, image caches, media and UEFI variables go along; what is in the way is named."""

import re

import pytest

from wire.agent import GuestTruth, ServerCommand
from wire.errors import ErrorCode, GodwitError
from wire.fleet import PowerState
from wire.storage import FileRole, PrepareCommand, ServerStorage, StorageFile

pytestmark = pytest.mark.lab

MIB = 1 << 20
IMAGES = "/var/lib/libvirt/images"
CACHE = "/var/lib/libvirt/image-cache"
NVRAM = "/var/lib/libvirt/qemu/nvram"
HOSTS = ("kvm-01", "kvm-02")


@pytest.fixture
def cache(lab, agents, until):
    """A pool for images that several servers share, on both hosts."""
    for host in HOSTS:
        lab.virsh(
            host,
            f"pool-define-as cache dir --target {CACHE}",
            "pool-build cache",
            "pool-start cache",
        )
        until(
            lambda host=host: "cache" in {p.name for p in agents(host).snapshot().facts.pools},
            "the agent knows the pool",
        )
    yield CACHE
    for host in HOSTS:
        lab.virsh(host, "pool-destroy cache", "pool-undefine cache")
        lab.execute(host, "rm", "-rf", CACHE)


def shell(lab, host, script: str) -> None:
    done = lab.execute(host, "sh", "-ec", script)
    assert done.returncode == 0, done.stderr


def redefine(lab, name: str, *, disk: str, media: str = "", nvram: str = "") -> None:
    """Give a server a qcow2 disk, a CD-ROM and UEFI variables."""
    xml = lab.virsh("kvm-01", f"dumpxml --inactive {name}")
    xml = xml.replace("type='raw'", "type='qcow2'")
    xml = re.sub(rf"{IMAGES}/{name}\.img", disk, xml)
    if media:
        drive = (
            "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>"
            f"<source file='{media}'/><target dev='hdc' bus='ide'/><readonly/></disk>"
        )
        xml = xml.replace("</disk>", f"</disk>{drive}", 1)
    if nvram:
        firmware = (
            "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>"
            f"<nvram>{nvram}</nvram>"
        )
        xml = xml.replace("</type>", f"</type>{firmware}", 1)
    path = lab.folders.etc("kvm-01") / "godwit" / f"{name}.xml"
    path.write_text(xml)
    lab.virsh("kvm-01", f"define /etc/godwit/{name}.xml")
    path.unlink()


def test_a_chain_a_cache_a_medium_and_nvram_go_along(lab, cold_move, cache, until, agents):
    first = cold_move()
    first.give_up()
    name = first.name
    nvram = f"{NVRAM}/{name}_VARS.fd"
    shell(
        lab,
        "kvm-01",
        f"""
        cd {IMAGES}
        qemu-img create -q -f qcow2 {cache}/base.qcow2 64M
        qemu-io -c 'write -P 7 1M 2M' {cache}/base.qcow2 >/dev/null
        qemu-img create -q -f qcow2 -F qcow2 -b {cache}/base.qcow2 {name}-mid.qcow2
        qemu-io -c 'write -P 9 8M 1M' {name}-mid.qcow2 >/dev/null
        qemu-img create -q -f qcow2 -F qcow2 -b {IMAGES}/{name}-mid.qcow2 {name}.qcow2
        qemu-io -c 'write -P 5 20M 1M' {name}.qcow2 >/dev/null
        qemu-img snapshot -c s1 {name}.qcow2
        head -c 700001 /dev/urandom >{cache}/tools.iso
        mkdir -p {NVRAM}
        head -c 540672 /dev/urandom >{nvram}
        """,
    )
    redefine(lab, name, disk=f"{IMAGES}/{name}.qcow2", media=f"{cache}/tools.iso", nvram=nvram)
    snapshot = (
        "<domainsnapshot><name>s1</name><state>shutoff</state>"
        "<creationTime>1700000000</creationTime>"
        "<disks><disk name='hda' snapshot='internal'/></disks>"
        f"{lab.virsh('kvm-01', f'dumpxml --inactive {name}')}</domainsnapshot>"
    )
    (lab.folders.etc("kvm-01") / "godwit" / "s1.xml").write_text(snapshot)
    made = lab.execute(
        "kvm-01", "virsh", "snapshot-create", name, "/etc/godwit/s1.xml", "--redefine", "--current"
    )
    assert made.returncode == 0, made.stderr
    move = type(first)(lab, agents, first.hold, name, first.server_id)
    found = {one.path: one for one in move.storage.files}
    roles = {path: (one.role, one.owned, one.pool_name) for path, one in found.items()}
    assert roles == {
        f"{IMAGES}/{name}.qcow2": (FileRole.DISK, True, "local"),
        f"{IMAGES}/{name}-mid.qcow2": (FileRole.BACKING, True, "local"),
        f"{cache}/base.qcow2": (FileRole.BACKING, False, "cache"),
        f"{cache}/tools.iso": (FileRole.MEDIA, False, "cache"),
        nvram: (FileRole.NVRAM, True, ""),
    }
    assert found[f"{IMAGES}/{name}.qcow2"].virtual_bytes == 64 * MIB
    assert move.storage.refusal == ""
    assert len(move.storage.snapshots) == 1

    # the image of the cache is on the target already, and is not sent again
    base = move.here(f"{cache}/base.qcow2").read_bytes()
    move.there(f"{cache}/base.qcow2").write_bytes(base)
    incoming, export = move.prepare(), move.export()
    digests = {one.source_path: one.present_digest for one in incoming.files}
    until(lambda: len(move.exported().digests) == 5, "all digests of the source")
    known = move.exported().digests
    assert digests == dict.fromkeys(found, "") | {
        f"{cache}/base.qcow2": known[f"{cache}/base.qcow2"]
    }
    with pytest.raises(GodwitError, match="is there already on kvm-02 with other content"):
        move.pull(incoming, export)
    move.pull(incoming, export, without=(f"{cache}/base.qcow2",))
    job = move.ended()
    assert job.error == ""
    assert job.digests == {path: known[path] for path in found if "base" not in path}
    move.close()
    assert move.define().state is PowerState.SHUT_OFF
    for path in found:
        assert move.there(path).read_bytes() == move.here(path).read_bytes(), path
    assert lab.virsh("kvm-02", f"snapshot-current --name {name}").strip() == "s1"
    checked = lab.execute(
        "kvm-02", "qemu-io", "-r", "-c", "read -P 7 1M 2M", f"{IMAGES}/{name}.qcow2"
    )
    assert "Pattern verification failed" not in checked.stdout
    move.hand_over()
    move.complete()
    assert move.release().state is PowerState.ABSENT
    left = {path for path in found if move.here(path).exists()}
    assert left == {f"{cache}/base.qcow2", f"{cache}/tools.iso"}
    lab.virsh("kvm-02", f"undefine {name} --nvram --snapshots-metadata")


def test_what_cannot_go_is_told_before_anything_is_copied(lab, cold_move, until, agents):
    move = cold_move()
    name = move.name
    xml = lab.virsh("kvm-01", f"dumpxml --inactive {name}")
    lab.execute("kvm-01", "sh", "-c", "mkdir -p /srv/odd && truncate -s 1M /srv/odd/x.img")

    def storage(changed: str) -> ServerStorage:
        path = lab.folders.etc("kvm-01") / "godwit" / "odd.xml"
        path.write_text(changed)
        lab.virsh("kvm-01", "define /etc/godwit/odd.xml")
        return move.source.get(f"/v1/servers/{move.server_id}/storage", ServerStorage)

    def refusal(changed: str) -> str:
        return storage(changed).refusal

    odd = xml.replace(f"{IMAGES}/{name}.img", "/run/odd.img")
    assert "no such file" in refusal(odd)
    lab.execute("kvm-01", "truncate", "-s", "1M", "/run/odd.img")
    assert "/run/odd.img, which is in no storage pool of this host" in refusal(odd)
    block = odd.replace("type='file' device='disk'", "type='block' device='disk'")
    block = block.replace("source file='/run/odd.img'", "source dev='/dev/loop0'")
    assert "the block device /dev/loop0" in refusal(block)
    assert storage(block).disk_refusal == storage(block).refusal
    boots = xml.replace("</type>", "</type><kernel>/boot/vmlinuz</kernel>", 1)
    assert "it boots the kernel /boot/vmlinuz of its host" in refusal(boots)
    assert storage(boots).disk_refusal == "", "a guest that is on needs no kernel to boot"
    assert refusal(xml) == ""

    def prepared(**fields: object) -> str:
        file = StorageFile(**{"path": f"{IMAGES}/x.img", "role": FileRole.DISK, **fields})
        command = PrepareCommand(
            migration_id=move.id,
            server_id=move.server_id,
            server_name=name,
            generation=move.generation,
            kind="cold",
            files=(file,),
        )
        with pytest.raises(GodwitError) as refused:
            move.target.post("/v1/incoming", command, GuestTruth)
        assert refused.value.code is ErrorCode.CONFLICT
        return refused.value.message

    assert "kvm-02 has no active pool 'fast'" in prepared(pool_name="fast")
    assert "the pool 'shared' is shared on kvm-02" in prepared(pool_name="shared")
    huge = prepared(pool_name="local", file_bytes=1 << 50)
    assert f"({1 << 50} bytes)" in huge
    assert "are free there" in huge
    move.there(f"{IMAGES}/x.img").write_bytes(b"somebody's")
    assert "x.img is there already on kvm-02 with 10 bytes" in prepared(
        pool_name="local", file_bytes=9
    )
    assert move.there(f"{IMAGES}/x.img").read_bytes() == b"somebody's"
    move.give_up()


def test_leftovers_of_an_earlier_try_are_no_hindrance(lab, cold_move):
    move = cold_move()
    (disk,) = move.storage.files
    assert move.copy().error == ""
    move.close()
    move.define()
    earlier = move.left_there()
    assert earlier == {move.there(disk.path).name}
    move.give_up()
    move.begin()
    move.prepare()
    assert move.left_there() == set()
    assert move.target.truth(move.server_id).state is PowerState.ABSENT
    move.prepare()
    move.discard()
    move.give_up()


def test_room_for_a_live_move_is_made_and_taken_back(lab, cold_move, until):
    move = cold_move()
    (disk,) = move.storage.files
    incoming = move.prepare(kind="live")
    assert [one.path for one in incoming.files] == [disk.path]
    made = move.there(disk.path)
    assert (made.stat().st_size, made.stat().st_blocks) == (disk.virtual_bytes, 0)
    assert made.name in lab.virsh("kvm-02", "vol-list local")
    assert move.discard().kept == ()
    assert not made.exists()
    assert made.name not in lab.virsh("kvm-02", "vol-list local")
    move.give_up()


def test_what_a_failed_move_left_is_kept_and_removed_on_request(lab, cold_move, encoded):
    move = cold_move()
    (disk,) = move.storage.files
    move.copy()
    log = f"/var/log/libvirt/qemu/{move.name}.log"
    shell(lab, "kvm-02", f"mkdir -p /var/log/libvirt/qemu; echo a guest that failed >{log}")
    job = encoded(move.job()).decode()
    kept = {one.kind: one for one in move.discard(keep=True, job_record=job).kept}
    assert kept.keys() == {"disk", "definition", "log", "job"}
    assert kept["disk"].path == f"{disk.path}.kept-{move.id}"
    assert move.left_there() == {f"{move.name}.img.kept-{move.id}"}
    folder = lab.folders.node("kvm-02") / "godwit" / "kept" / move.id
    assert folder.stat().st_mode & 0o777 == 0o700
    assert f"<name>{move.name}</name>" in (folder / "definition.xml").read_text()
    assert (folder / "qemu.log").read_text() == "a guest that failed\n"
    assert (folder / "job.json").read_text() == job
    assert {one.kind: one for one in move.discard(keep=True).kept} == kept
    # what is kept does not block the next try, and outlives it
    earlier = move.id
    move.close()
    move.give_up()
    move.begin()
    move.prepare()
    move.discard()
    assert folder.exists()
    for _ in range(2):
        answer = move.target.http.post(f"/v1/incoming/{earlier}/remove-kept")
        assert answer.status_code == 204
    assert not folder.exists()
    assert move.left_there() == set()
    move.give_up()


def test_only_a_servers_own_files_are_deleted_and_only_when_it_has_left(lab, cold_move, cache):
    move = cold_move()
    (disk,) = move.storage.files
    move.copy()
    move.close()
    move.define()
    move.hand_over()
    for path, why in (
        ("/etc/passwd", "it lies in no pool of this host"),
        (f"{IMAGES}/../passwd", "it lies in no pool of this host"),
        ("/var/lib/libvirt/shared/some.img", "the pool 'shared' is shared with other hosts"),
    ):
        with pytest.raises(GodwitError, match=why) as refused:
            move.release([path])
        assert refused.value.code is ErrorCode.BAD_REQUEST
    assert move.source.truth(move.server_id).state is PowerState.SHUT_OFF
    lab.virsh("kvm-01", f"start {move.name}")
    with pytest.raises(GodwitError, match="is running on this host"):
        move.release()
    removed = move.source.post(
        f"/v1/servers/{move.server_id}/remove",
        ServerCommand(generation=move.generation),
        GuestTruth,
    )
    assert removed.state is PowerState.ABSENT
    assert move.here(disk.path).exists()
    with pytest.raises(GodwitError, match="it is not removed from here"):
        move.target.post(
            f"/v1/servers/{move.server_id}/remove",
            ServerCommand(generation=move.generation),
            GuestTruth,
        )
    move.release()
    assert not move.here(disk.path).exists()
    move.complete()
