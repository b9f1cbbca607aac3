"""What is copied and what counts as equal, on files and XML alone."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostagent.copies import definition, images
from hostagent.copies.digest import BLOCK_BYTES, extents, file_digest
from hostagent.copies.plan import CELL_BYTES, Progress, cells, with_done

MIB = 1 << 20


def by_the_definition(content: bytes) -> str:
    lines = []
    for offset in range(0, len(content), BLOCK_BYTES):
        block = content[offset : offset + BLOCK_BYTES]
        lines.append(hashlib.sha256(block).hexdigest() if any(block) else "")
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_zeros_and_holes_have_one_digest_and_places_count(tmp_path):
    size = 3 * BLOCK_BYTES + 777
    written, sparse, moved = (tmp_path / name for name in ("written", "sparse", "moved"))
    content = bytearray(size)
    content[BLOCK_BYTES + 5] = 1
    content[-1] = 2
    written.write_bytes(content)
    with sparse.open("wb") as file:
        file.truncate(size)
        file.seek(BLOCK_BYTES + 5)
        file.write(b"\1")
        file.seek(size - 1)
        file.write(b"\2")
    assert sparse.stat().st_blocks < written.stat().st_blocks
    assert file_digest(str(written)) == file_digest(str(sparse)) == by_the_definition(content)
    content[BLOCK_BYTES + 5] = 0
    content[5] = 1
    moved.write_bytes(content)
    assert file_digest(str(moved)) == by_the_definition(content) != file_digest(str(written))


def test_known_lines_are_taken_and_the_rest_is_read(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"\1" * (BLOCK_BYTES + 10))
    line = hashlib.sha256(b"\1" * BLOCK_BYTES).hexdigest()
    assert file_digest(str(path), known={0: line}) == file_digest(str(path))
    assert file_digest(str(path), known={0: "0" * 64}) != file_digest(str(path))


def test_extents_are_where_data_is(tmp_path):
    path = tmp_path / "image"
    with path.open("wb") as file:
        for offset in (0, 5 * MIB):
            file.seek(offset)
            file.write(b"x" * MIB)
        file.truncate(20 * MIB)
    handle = os.open(path, os.O_RDONLY)
    assert list(extents(handle, 20 * MIB)) == [(0, MIB), (5 * MIB, MIB)]
    os.close(handle)


@pytest.mark.parametrize("call", [images.image_chain, lambda *of: images.make_image(*of, 9)])
def test_a_qemu_img_that_hangs_is_told_of(tmp_path, monkeypatch, call):
    stub = tmp_path / "qemu-img"
    stub.write_text("#!/bin/sh\nexec sleep 60\n")
    stub.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(images, "_TIMEOUT_S", 0.1)
    with pytest.raises(images.ImageUnread, match=r"/a.qcow2 .* did not answer within 0.1 s"):
        call("/a.qcow2", "qcow2")


extent_lists = st.lists(
    st.tuples(st.integers(1, 3 * CELL_BYTES), st.integers(1, 2 * CELL_BYTES)), max_size=6
)


@given(extent_lists)
def test_cells_hold_all_data_once(pieces):
    found, offset = [], 0
    for hole, length in pieces:
        found.append((offset + hole, length))
        offset += hole + length
    size = offset + 1
    plan = cells(found, size)
    assert sum(cell.data_bytes for cell in plan) == sum(length for _, length in found)
    for begin, length in found:
        for place in (begin, begin + length - 1):
            assert any(cell.offset <= place < cell.offset + cell.size for cell in plan)
    for cell in plan:
        assert cell.size % 512 == 0
        assert cell.offset + cell.size < size + 512


@given(st.randoms(use_true_random=False), st.sets(st.integers(0, 40), min_size=1))
def test_progress_knows_exactly_the_cells_that_are_done(dice, numbers):
    plan = cells([(number * CELL_BYTES, 1) for number in sorted(numbers)], 41 * CELL_BYTES)
    order = list(plan)
    dice.shuffle(order)
    progress = Progress(file_bytes=1, modified_ns=1)
    for count, cell in enumerate(order, start=1):
        progress = with_done(progress, cell.number, plan)
        done = {one.number for one in plan if progress.done(one)}
        assert done == {one.number for one in order[:count]}
    assert progress.beyond == ()


DOMAIN = """<domain><name>web</name><uuid>u</uuid>
<os><nvram>/nvram/web.fd</nvram></os><devices>
<disk type='file' device='disk'><driver type='qcow2'/><source file='/a/web.img'/>
  <target dev='vda'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/></disk>
<disk type='network' device='disk'><source protocol='rbd' name='pool/x'/><target dev='vdb'/></disk>
</devices></domain>"""


def test_drives_that_hold_something_are_found():
    found = {one.target: (one.kind, one.path, one.format) for one in definition.sources(DOMAIN)}
    assert found == {
        "vda": ("file", "/a/web.img", "qcow2"),
        "vdb": ("network", "pool/x", "raw"),
    }
    assert definition.nvram_path(DOMAIN) == "/nvram/web.fd"


def test_paths_are_replaced_where_they_stand_and_nowhere_else():
    moved = definition.with_paths(DOMAIN, {"/a/web.img": "/b/web.img", "/nvram/web.fd": "/n/w.fd"})
    assert [one.path for one in definition.sources(moved)] == ["/b/web.img", "pool/x"]
    assert definition.nvram_path(moved) == "/n/w.fd"
    assert definition.with_paths(DOMAIN, {"/a/web.img": "/a/web.img"}) == DOMAIN


@pytest.mark.parametrize(
    ("inside", "clause"),
    [
        ("<os><kernel>/boot/k</kernel></os>", "boots the kernel /boot/k"),
        ("<devices><tpm><backend type='emulator'/></tpm></devices>", "emulated TPM"),
        ("<devices><filesystem><source dir='/srv'/></filesystem></devices>", "folder /srv"),
    ],
)
def test_what_stays_on_its_host_is_named(inside, clause):
    (found,) = definition.obstacles(f"<domain>{inside}</domain>")
    assert clause in found


def test_the_current_snapshot_is_marked_as_libvirt_does():
    xml = "<domainsnapshot><name>s</name></domainsnapshot>"
    assert not definition.is_current(xml)
    marked = definition.marked_current(xml)
    assert definition.is_current(marked)
    assert definition.marked_current(marked) == marked
