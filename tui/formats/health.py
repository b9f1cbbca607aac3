"""A host's health, fence and policy in words, for the command line and the console alike."""

from collections.abc import Sequence

from tui.formats.units import duration_text, moment_text
from wire.console import FailingDuty
from wire.fleet import HostPolicy, HostStatus, HostView
from wire.life import Fence, HealthValue
from wire.rescue import HostHealth

ARMING = frozenset({"automatic rescue is off", "godwit-fence is not armed yet"})
"""``fence_detail`` of a host that may arm its watchdog in a moment, if its policy wants it."""
_GRAVEST = {"rescues": 0, "migrations": 1}
"""Duties without which guests stay off, or halted."""


def danger_word(host: HostView) -> str:
    """What is to be known of a host beside its status: ``dead``, ``late``, ``shutdown``; or ``""``.

    Of a host that nobody can say anything about, nothing is said.
    """
    if host.dead and host.status is HostStatus.OFFLINE:
        return "dead"
    if host.status in {HostStatus.OFFLINE, HostStatus.UNKNOWN}:
        return ""
    return "late" if host.late else "shutdown" if host.shutting_down else ""


def host_word(host: HostView) -> str:
    """The word that says most: ``dead`` for ``offline``, ``late`` for ``online``."""
    return danger_word(host) or str(host.status)


def seen_word(host: HostView) -> str:
    """``present``, ``late``, ``shutdown``, ``lost`` or ``dead``; empty while nobody can say."""
    if host.status is HostStatus.UNKNOWN:
        return ""
    return danger_word(host) or ("lost" if host.status is HostStatus.OFFLINE else "present")


def health_word(health: HostHealth) -> str:
    """What etcd says of a host: ``present``, ``late``, ``lost`` or ``dead``."""
    if health.present:
        return "late" if health.late else "present"
    return "dead" if health.dead else "lost"


def fence_text(life: HealthValue | None) -> str:
    """``watchdog, 5 s``, or ``none: no /dev/watchdog``; empty of a host without a health key."""
    if life is None:
        return ""
    if life.fence is Fence.WATCHDOG:
        return f"watchdog, {life.watchdog_timeout_s} s"
    return f"none: {life.fence_detail}" if life.fence_detail else "none"


def policy_text(policy: HostPolicy) -> str:
    """When a host's servers leave it without being asked: ``down+shutdown``, ``down``, ``off``."""
    if not policy.auto_migrate_on_host_down:
        return "off"
    return "down+shutdown" if policy.auto_migrate_on_host_shutdown else "down"


def policy_sentence(policy: HostPolicy) -> str:
    """The same in full."""
    if not policy.auto_migrate_on_host_down:
        return "off: its servers stay with it, whatever happens to it"
    if policy.auto_migrate_on_host_shutdown:
        return "when it dies, and before it is shut down in order"
    return "when it dies; not when it is shut down in order"


def unfenced_warning(host_name: str, life: HealthValue | None) -> str:
    """What it means that a host whose servers are to be rescued has no fence; empty if it has."""
    if life is None or life.fence is not Fence.NONE:
        return ""
    if life.fence_detail in ARMING:
        return f"{host_name} has not armed its watchdog yet: host-health shows when it has"
    reason = f" ({life.fence_detail})" if life.fence_detail else ""
    return (
        f"{host_name} has no watchdog{reason}: its servers are not started elsewhere until "
        "somebody declares it off"
    )


def duty_text(duty: FailingDuty, *, brief: bool = False) -> str:
    """What the backend does not get done, how often it tried, and why, in one sentence."""
    times = "time" if duty.failures == 1 else "times"
    since = moment_text(duty.since_ms, brief=brief)
    return f"duty {duty.name} has failed {duty.failures} {times} since {since}: {duty.reason}"


def gravest_first(duties: Sequence[FailingDuty]) -> list[FailingDuty]:
    """Sort duties: rescues and migrations, then the others by name."""
    return sorted(duties, key=lambda one: (_GRAVEST.get(one.name, len(_GRAVEST)), one.name))


def duties_text(duties: Sequence[FailingDuty]) -> str:
    """Which ones fail, where there is no room for why."""
    return f"{len(duties)} duties fail: {', '.join(one.name for one in gravest_first(duties))}"


def failing_text(duties: Sequence[FailingDuty], *, brief: bool = False) -> str:
    """The same in a few words: ``rescues fail``, ``rescues +5 fail``; brief names one alone."""
    name = gravest_first(duties)[0].name
    if len(duties) > 1 and not brief:
        return f"{name} +{len(duties) - 1} fail"
    return f"{name} fail" if name.endswith("s") else f"{name} fails"


def left_text(health: HostHealth) -> str:
    """``8 of 10 s``; empty without a lease."""
    return "" if health.left_s is None else f"{health.left_s} of {health.life.ttl_s} s"


def ago_text(age_ms: int) -> str:
    """``12 s ago``, ``3 min ago``, ``5 h ago``, ``2 d ago``: short enough for a column."""
    seconds = max(0, age_ms) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def after_text(since_ms: int, at_ms: int) -> str:
    """``after 7.3 s``: from the loss of a host to a moment; empty if that has not come."""
    return f"after {duration_text(max(0, at_ms - since_ms))}" if at_ms else ""
