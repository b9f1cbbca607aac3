"""A host's own /proc/cpuinfo: this machine's, with another CPU model and microcode."""

import re

import msgspec


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """What Godwit compares of two hosts' CPUs."""

    model_name: str
    microcode: str


COMMON = Cpu(model_name="Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz", microcode="0x42e")
OLD_MICROCODE = Cpu(model_name=COMMON.model_name, microcode="0x428")
OTHER_MODEL = Cpu(model_name="Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", microcode="0x49")
OTHER_ALTOGETHER = Cpu(model_name=OTHER_MODEL.model_name, microcode="0x428")


def cpu_of_host(index: int, host_count: int) -> Cpu:
    """Which CPU the host at ``index`` (0 is the first) shows.

    The first two hosts are always alike. With three hosts the third differs in both respects; with
    more, the third differs in microcode alone and the fourth in the model.
    """
    if index == 2:
        return OTHER_ALTOGETHER if host_count == 3 else OLD_MICROCODE
    if index == 3:
        return OTHER_MODEL
    return COMMON


def fabricate(cpuinfo: str, cpu: Cpu) -> str:
    """Replace model name and microcode of every processor; add the lines where there are none."""
    processors = []
    for block in cpuinfo.strip().split("\n\n"):
        kept = [
            line for line in block.splitlines() if not re.match(r"(model name|microcode)\s*:", line)
        ]
        kept[1:1] = [f"model name\t: {cpu.model_name}", f"microcode\t: {cpu.microcode}"]
        processors.append("\n".join(kept))
    return "\n\n".join(processors) + "\n\n"
