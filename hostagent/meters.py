"""The host's volatile figures."""

import libvirt
import msgspec

from wire.fleet import HostMeters


class CpuTimes(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time in ns since the host started, over all CPUs."""

    busy_ns: int
    idle_ns: int


def read_meters(handle: libvirt.virConnect, before: CpuTimes | None) -> tuple[HostMeters, CpuTimes]:
    """Read memory now, and the busy share of all CPUs since ``before``. Blocks."""
    times = handle.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    idle_ns = times.get("idle", 0) + times.get("iowait", 0)
    now = CpuTimes(busy_ns=times.get("kernel", 0) + times.get("user", 0), idle_ns=idle_ns)
    memory = handle.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    reclaimable = memory.get("free", 0) + memory.get("buffers", 0) + memory.get("cached", 0)
    meters = HostMeters(
        cpu_percent=0.0 if before is None else busy_percent(before, now),
        memory_used_bytes=(memory.get("total", 0) - reclaimable) * 1024,
    )
    return meters, now


def busy_percent(before: CpuTimes, now: CpuTimes) -> float:
    """Share of the time between two readings in which CPUs were busy, 0 to 100."""
    busy, idle = now.busy_ns - before.busy_ns, now.idle_ns - before.idle_ns
    return round(100 * busy / (busy + idle), 1) if busy + idle > 0 else 0.0
