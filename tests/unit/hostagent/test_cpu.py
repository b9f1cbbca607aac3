"""libvirt 9.0's own words about a CPU that cannot be had."""

import libvirt
import pytest

from hostagent.cpu import compare_cpu, refused_comparison
from wire.agent import CpuComparison, CpuQuestion

TWO = "the CPU is incompatible with host CPU: Host CPU does not provide required features: pni, svm"
MANY = (
    "the CPU is incompatible with host CPU: Host CPU does not provide required features: vme, "
    "rdseed, sha-ni, xsavec, fxsr_opt, misalignsse, 3dnowprefetch, osvw"
)
UNKNOWN = "internal error: Unknown CPU model Nonsense"
MACHINE = (
    "invalid argument: the machine 'pc-q35-9.9' is not supported by emulator "
    "'/usr/bin/qemu-system-x86_64'"
)
QUESTION = CpuQuestion(
    cpu_xml="<cpu><model>Haswell</model></cpu>",
    architecture="x86_64",
    machine="pc",
    virt_type="kvm",
)


def test_missing_features_are_named():
    assert refused_comparison(TWO) == CpuComparison(
        compatible=False, missing_features=("pni", "svm")
    )
    found = refused_comparison(MANY)
    assert len(found.missing_features) == 8
    assert {"sha-ni", "3dnowprefetch"} <= set(found.missing_features)
    assert found.error == ""


@pytest.mark.parametrize("text", [UNKNOWN, MACHINE])
def test_any_other_reason_is_told_as_it_is(text):
    assert refused_comparison(text) == CpuComparison(compatible=False, error=text)


def test_a_guest_without_a_cpu_is_not_asked_about():
    assert compare_cpu(
        None, CpuQuestion(cpu_xml="", architecture="x86_64", machine="pc", virt_type="kvm")
    ).compatible


class Refusing:
    """A libvirt that answers with an error of a number, or one whose connection broke."""

    def __init__(self, number: int, *, broken: bool = False) -> None:
        self.number = number
        self.broken = broken

    def isAlive(self) -> bool:  # noqa: N802 - libvirt's name
        return not self.broken

    def compareHypervisorCPU(self, *_: object) -> int:  # noqa: N802 - libvirt's name
        error = libvirt.libvirtError(TWO)
        error.err = (self.number, 0, TWO, 0, "", None, None, 0, 0)
        raise error


def test_a_libvirtd_that_is_away_says_nothing_of_a_cpu():
    assert compare_cpu(Refusing(libvirt.VIR_ERR_CPU_INCOMPATIBLE), QUESTION).missing_features
    with pytest.raises(libvirt.libvirtError):
        compare_cpu(Refusing(libvirt.VIR_ERR_RPC), QUESTION)
    with pytest.raises(libvirt.libvirtError):
        compare_cpu(Refusing(libvirt.VIR_ERR_INTERNAL_ERROR, broken=True), QUESTION)
