"""What can be done about hosts that die: each act with its question, or why it makes no sense."""

from tui.acts import Act, Choice, ChoiceAct, Facts, TypedAct, Wanted
from tui.formats.health import ARMING, unfenced_warning
from tui.formats.units import moment_text
from tui.paint import Span, Tone
from tui.store import Store
from tui.views.rescue import missing
from wire.fleet import HostStatus, HostView, RescuePriority, ServerView
from wire.rescue import HostPolicyChange, ServerPolicyChange

_DANGER = "if {host} still runs, a second copy of each server destroys its disk"


def auto_migrate(host: HostView) -> Wanted:
    """Choose whether a host's servers leave it by themselves."""
    name, policy = host.facts.name, host.policy
    dies = (
        f"When {name} dies, its running servers whose disks are all shared start on other hosts. "
        f"For that {name} arms its watchdog: once it has lost etcd for as long as its lease, it "
        "kills these servers itself, or is reset."
    )
    warning = _no_watchdog(host)
    shutdown = f"Before {name} is shut down in order, they move away, live where there is time."
    off = f"The servers of {name} stay with it, whatever happens to it. Its watchdog is disarmed."
    down, both = policy.auto_migrate_on_host_down, policy.auto_migrate_on_host_shutdown
    return ChoiceAct(
        title=f"When do servers leave {name} by themselves?",
        choices=(
            _policy(host, "never", off, down=False, shutdown=False, present=not down),
            _policy(
                host,
                "when it dies",
                dies + warning,
                down=True,
                shutdown=False,
                present=down and not both,
            ),
            _policy(
                host,
                "when it dies or is shut down",
                f"{dies} {shutdown}{warning}",
                down=True,
                shutdown=True,
                present=down and both,
            ),
        ),
    )


def _no_watchdog(host: HostView) -> str:
    life = host.health
    if life is None or life.fence_detail in ARMING:
        return ""
    warning = unfenced_warning(host.facts.name, life)
    return f" But {warning}." if warning else ""


def _policy(
    host: HostView, name: str, meaning: str, *, down: bool, shutdown: bool, present: bool
) -> Choice:
    changed = HostPolicyChange(
        auto_migrate_on_host_down=down, auto_migrate_on_host_shutdown=shutdown
    )
    act = Act(
        question="",
        call=lambda client: client.set_host_policy(host.facts.host_id, changed),
        done=lambda _: f"servers leave {host.facts.name} by themselves: {name}",
    )
    return Choice(name=name, meaning=meaning, present=present, act=act)


def priority(server: ServerView) -> Wanted:
    """Choose how soon a server is rescued."""
    meanings = {
        RescuePriority.HIGH: f"{server.name} is started before all of medium and low priority.",
        RescuePriority.MEDIUM: f"{server.name} is started after those of high priority.",
        RescuePriority.LOW: f"{server.name} is started last.",
    }

    def choice(wanted: RescuePriority) -> Choice:
        changed = ServerPolicyChange(rescue_priority=wanted)
        act = Act(
            question="",
            call=lambda client: client.set_server_policy(server.server_id, changed),
            done=lambda _: f"{server.name}: rescue priority is {wanted}",
        )
        return Choice(
            name=str(wanted),
            meaning=f"When its host dies, {meanings[wanted]}",
            present=server.rescue_priority is wanted,
            act=act,
        )

    return ChoiceAct(
        title=f"How soon is {server.name} rescued?",
        choices=tuple(choice(each) for each in RescuePriority),
    )


def declare_off(store: Store, host: HostView | None) -> Wanted:
    """Give one's word that a lost host is switched off."""
    if host is None:
        return "this host is not known any more"
    name = host.facts.name
    if host.status is HostStatus.UNKNOWN:
        return f"{host.status_reason}: nobody can say whether {name} is lost"
    if host.status is not HostStatus.OFFLINE:
        return f"{name} is {host.status}: only a host that is lost can be declared off"
    incident = store.open_incident(host.facts.host_id)
    if host.dead:
        proof = f": {incident.proof}" if incident and incident.proof else ""
        return f"{name} counts as dead already{proof}"
    act = Act(
        question="",
        call=lambda client: client.declare_off(host.facts.host_id, name),
        done=lambda _: f"{name} is declared off: its servers may be started elsewhere",
    )

    def read(text: str) -> tuple[Act | None, str]:
        if text.strip() != name:
            return None, f"Type {name} to go on; esc changes nothing."
        return act, f"Enter: {name} counts as dead once its lease has run out."

    return TypedAct(
        title=f"Have you switched {name} off yourself?",
        label="name of the host",
        facts=(
            *missing(host, incident),
            ("then", Span(_what_follows(store, host))),
            ("danger", Span(_DANGER.format(host=name), Tone.BAD)),
            ("so", Span("cut its power and see that it is off, before you type")),
            ("remains", Span(f"your word, with your name, until {name} is back")),
        ),
        read=read,
    )


def _what_follows(store: Store, host: HostView) -> str:
    name = host.facts.name
    if not host.policy.auto_migrate_on_host_down:
        return (
            f"nothing starts by itself, since auto-migrate of {name} is off; M rescues a server "
            "without further proof"
        )
    if not store.guard.armed:
        return "nothing starts by itself until rescues are armed; M rescues a server"
    return (
        f"the servers that ran on {name} and whose disks are all shared start elsewhere, once its "
        "lease has run out too"
    )


def guard(store: Store) -> Wanted:
    """Arm rescues if they are disarmed, else disarm them."""
    if store.status is None:
        return "the backend has not said yet whether rescues are armed"
    return _disarm() if store.guard.armed else _arm(store)


def _arm(store: Store) -> Act:
    now = store.guard
    by = f" by {now.by}" if now.by else ""
    facts: Facts = (
        ("disarmed", Span(f"{moment_text(now.at_ms)}{by}: {now.reason or 'no reason given'}")),
        ("then", Span(_at_once(store), Tone.WARN)),
        ("to stop", Span("A disarms again; servers that are being started go on")),
    )
    return Act(
        question="Let servers of dead hosts start elsewhere by themselves again?",
        facts=facts,
        call=lambda client: client.arm(),
        done=lambda _: "rescues are armed",
    )


def _at_once(store: Store) -> str:
    """What arming sets going."""
    away = [
        each
        for each in store.hosts.values()
        if each.status is HostStatus.OFFLINE
        and each.policy.auto_migrate_on_host_down
        and each.server_count
    ]
    dead = ", ".join(
        f"{each.facts.name} ({each.server_count} servers)" for each in away if each.dead
    )
    lost = ", ".join(each.facts.name for each in away if not each.dead)
    parts = [f"at once those of {dead}"] if dead else []
    parts += [f"those of {lost} once dead for certain"] if lost else []
    return "; ".join(parts) or "nothing at once: no host is lost whose servers should leave it"


def _disarm() -> TypedAct:
    def read(text: str) -> tuple[Act | None, str]:
        reason = text.strip()
        if not reason:
            return None, "Type why, for those who see it in the top line; esc changes nothing."
        act = Act(
            question="",
            call=lambda client: client.disarm(reason),
            done=lambda _: "rescues are disarmed",
        )
        return act, "Enter: whatever host dies from now on, nothing of it starts by itself."

    return TypedAct(
        title="Disarm rescues?",
        label="why",
        facts=(
            (
                "then",
                Span("no server is started elsewhere by itself until A arms again", Tone.WARN),
            ),
            ("still", Span("a host that loses etcd kills its servers that may be rescued")),
        ),
        read=read,
    )
