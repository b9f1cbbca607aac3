"""Devices of a host in libvirt's XML, in our words."""

import pytest

from hostagent.domain import parse_definition

PCI = "<source><address domain='0x0000' bus='0x3b' slot='0x0a' function='0x1'/></source>"


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (f"<hostdev mode='subsystem' type='pci'>{PCI}</hostdev>", "PCI device 0000:3b:0a.1"),
        (
            f"<interface type='hostdev'>{PCI}<mac address='52:54:00:00:00:01'/></interface>",
            "network card, PCI device 0000:3b:0a.1",
        ),
        (
            (
                "<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/>"
                "<product id='0xc52b'/><address bus='1' device='4'/></source></hostdev>"
            ),
            "USB device 046d:c52b",
        ),
        (
            (
                "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/>"
                "</source></hostdev>"
            ),
            "USB device 1-4",
        ),
        (
            (
                "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
                "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>"
            ),
            "mediated device c2177883-f1bb-47f0-914d-32a22e3a8804",
        ),
        (
            (
                "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
                "</source></hostdev>"
            ),
            "SCSI device scsi_host0",
        ),
        (
            "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>",
            "vDPA network card /dev/vhost-vdpa-0",
        ),
        (
            (
                "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/>"
                "</backend></tpm>"
            ),
            "TPM /dev/tpm0",
        ),
        ("<hostdev mode='subsystem' type='new'/>", "new device of the host"),
    ],
)
def test_each_kind_has_its_words(device, words):
    xml = f"<domain><devices><video/>{device}</devices></domain>"
    assert parse_definition(xml).passthrough == (words,)


def test_what_every_guest_has_is_none_of_it():
    devices = "<disk/><interface type='bridge'/><tpm><backend type='emulator'/></tpm>"
    assert parse_definition(f"<domain><devices>{devices}</devices></domain>").passthrough == ()
    assert parse_definition("<domain/>").passthrough == ()
