"""Whether a guest's CPU can be had on this host, in libvirt's words."""

import re

import libvirt

from hostagent.calls import refusal
from wire.agent import CpuComparison, CpuQuestion

_MISSING = re.compile(r"does not provide required features: (?P<names>.+)$")


def compare_cpu(handle: libvirt.virConnect, question: CpuQuestion) -> CpuComparison:
    """Ask ``virConnectCompareHypervisorCPU``. Blocks.

    A guest without a CPU of its own takes the emulator's default, which every host has.

    Raises:
        libvirt.libvirtError: it answered with another error than one about this CPU.
    """
    if not question.cpu_xml:
        return CpuComparison(compatible=True)
    try:
        handle.compareHypervisorCPU(
            None,
            question.architecture,
            question.machine,
            question.virt_type,
            question.cpu_xml,
            libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() in _ABOUT_THE_HOST or not handle.isAlive():
            raise
        return refused_comparison(str(refusal(error)))
    return CpuComparison(compatible=True)


def refused_comparison(text: str) -> CpuComparison:
    """Libvirt's error: the features that it names, or else the text itself."""
    found = _MISSING.search(text)
    if found is None:
        return CpuComparison(compatible=False, error=text)
    names = (name.strip() for name in found["names"].split(","))
    return CpuComparison(
        compatible=False, missing_features=tuple(sorted(name for name in names if name))
    )


_ABOUT_THE_HOST = {
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
}
"""Errors that say nothing about a CPU."""
