"""libvirt's job statistics (``virDomainGetJobStats``) as our messages."""

from collections.abc import Mapping
from typing import Any

import libvirt

from wire.migration import Sample, Statistics

_OVER = {None, libvirt.VIR_DOMAIN_JOB_NONE, libvirt.VIR_DOMAIN_JOB_COMPLETED}


def job_runs(stats: Mapping[str, Any]) -> bool:
    """Whether libvirt's answer is of a migration away from this host that is under way.

    One that failed or was cancelled is under way until libvirt has cleaned up after it.
    """
    return (
        stats.get("type") not in _OVER
        and stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    )


def job_idle(stats: Mapping[str, Any]) -> bool:
    """Whether libvirt's answer shows no job of any kind under way."""
    return stats.get("type") in _OVER


def memory_iteration(stats: Mapping[str, Any]) -> int:
    """QEMU's count of dirty bitmap syncs; 0 while QEMU has not begun to copy."""
    return int(stats.get("memory_iteration", 0))


def disks_begun(stats: Mapping[str, Any]) -> bool:
    """Whether disks are copied, or were."""
    return int(stats.get("disk_total", 0)) > 0


def running_sample(
    stats: Mapping[str, Any], *, origin: int, downtime_limit_ms: int, postcopy: bool = False
) -> Sample:
    """Statistics of a running job.

    Args:
        stats: libvirt's typed parameters.
        origin: ``memory_iteration`` in the first pass of this job.
        downtime_limit_ms: the limit that holds.
        postcopy: whether the guest runs on the target already.
    """
    iteration = memory_iteration(stats)
    page_bytes = int(stats.get("memory_page_size", 0))
    return Sample(
        elapsed_ms=int(stats.get("time_elapsed", 0)),
        pass_number=max(1, iteration - origin + 1) if iteration else 0,
        memory_total_bytes=int(stats.get("memory_total", 0)),
        memory_processed_bytes=int(stats.get("memory_processed", 0)),
        memory_remaining_bytes=int(stats.get("memory_remaining", 0)),
        bandwidth_bytes_per_s=int(stats.get("memory_bps", 0)),
        dirty_bytes_per_s=int(stats.get("memory_dirty_rate", 0)) * page_bytes,
        expected_downtime_ms=int(stats.get("downtime", 0)),
        downtime_limit_ms=downtime_limit_ms,
        throttle_percent=int(stats.get("auto_converge_throttle", 0)),
        postcopy=postcopy,
        disk_total_bytes=int(stats.get("disk_total", 0)),
        disk_remaining_bytes=int(stats.get("disk_remaining", 0)),
    )


def final_statistics(stats: Mapping[str, Any]) -> Statistics:
    """Statistics of a finished job: ``JOB_COMPLETED`` event, or ``COMPLETED`` job statistics."""
    downtime_ms = stats.get("downtime")
    return Statistics(
        total_ms=int(stats.get("time_elapsed", 0)),
        downtime_ms=None if downtime_ms is None else int(downtime_ms),
        setup_ms=int(stats.get("setup_time", 0)),
        memory_total_bytes=int(stats.get("memory_total", 0)),
        memory_transferred_bytes=int(stats.get("memory_processed", 0)),
        memory_bandwidth_bytes_per_s=int(stats.get("memory_bps", 0)),
        disk_transferred_bytes=int(stats.get("disk_processed", 0)),
        pass_count=memory_iteration(stats),
        throttle_max_percent=int(stats.get("auto_converge_throttle", 0)),
    )
