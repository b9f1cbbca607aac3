"""Post-copy by libvirt's states, and who may do what to a job in it."""

import libvirt
import pytest

from hostagent.domain import describe_state
from hostagent.journal import Entry
from hostagent.permission import (
    require_cancellable,
    require_changeable,
    require_in_postcopy,
    require_postcopy,
)
from hostagent.postcopy import BROKE_OFF, is_half, is_news, observed_postcopy, why_never
from wire.agent import Job, JobState, MigrateCommand
from wire.errors import ErrorCode, GodwitError
from wire.migration import MigrationOptions, MigrationParameters, Note, PostcopyState

RUNS = describe_state(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
STOPPED = describe_state(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
SWITCHING = describe_state(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
SENT = describe_state(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
CUT = describe_state(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
CAME = describe_state(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
CAME_CUT = describe_state(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
NOT, ASKED = PostcopyState.NOT, PostcopyState.ASKED
ACTIVE, BROKEN = PostcopyState.ACTIVE, PostcopyState.PAUSED


def test_halves_are_told_from_paused_guests():
    assert all(is_half(state) for state in (SENT, CUT, CAME, CAME_CUT))
    assert not any(is_half(state) for state in (RUNS, STOPPED, SWITCHING))


@pytest.mark.parametrize(
    ("before", "source", "now"),
    [
        (NOT, RUNS, NOT),
        (NOT, STOPPED, NOT),
        (ASKED, RUNS, ASKED),
        (ASKED, SWITCHING, ASKED),
        (ASKED, SENT, ACTIVE),
        (ACTIVE, SENT, ACTIVE),
        (ACTIVE, CUT, BROKEN),
        (BROKEN, CUT, BROKEN),
        (BROKEN, SENT, ACTIVE),
    ],
)
def test_the_source_tells_where_it_stands(before, source, now):
    assert observed_postcopy(before, source) is now


def test_what_makes_a_switch_impossible():
    assert why_never(both_hosts=True, paused=False) == ""
    assert "userfaultfd" in why_never(both_hosts=False, paused=False)
    assert "paused" in why_never(both_hosts=True, paused=True)


def entry(
    state: JobState = JobState.COPYING_MEMORY,
    postcopy: PostcopyState = NOT,
    *,
    no_postcopy: str = "",
    cancelled: bool = False,
) -> Entry:
    return Entry(
        command=MigrateCommand(
            migration_id="m1",
            server_id="s1",
            generation=1,
            target_host_id="host-2",
            target_host_name="kvm-02",
            target_libvirt_uri="qemu+tls://kvm-02/system",
            target_address="10.0.0.2",
            options=MigrationOptions(),
        ),
        job=Job(
            migration_id="m1",
            server_id="s1",
            state=state,
            postcopy=postcopy,
            cancel_requested=cancelled,
        ),
        no_postcopy=no_postcopy,
    )


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (entry(JobState.STARTING), "is starting: it can switch"),
        (entry(JobState.COPYING_DISKS), "is copying disks: it can switch"),
        (entry(JobState.ENDED), "has ended"),
        (entry(no_postcopy="because"), "cannot switch to post-copy: because"),
        (entry(cancelled=True), "is being cancelled"),
    ],
)
def test_a_switch_is_refused_with_the_reason(job, why):
    require_postcopy(entry())
    with pytest.raises(GodwitError, match=f"the migration m1 {why}") as refused:
        require_postcopy(job)
    assert refused.value.code is ErrorCode.CONFLICT


@pytest.mark.parametrize("postcopy", [ASKED, ACTIVE, BROKEN])
def test_a_guest_in_post_copy_cannot_be_called_back(postcopy):
    require_cancellable(entry())
    with pytest.raises(GodwitError, match="has switched to post-copy"):
        require_cancellable(entry(postcopy=postcopy))
    limit = MigrationParameters(downtime_limit_ms=100)
    require_changeable(entry(), limit)
    with pytest.raises(GodwitError, match="no pause is left"):
        require_changeable(entry(postcopy=postcopy), limit)
    require_changeable(entry(postcopy=postcopy), MigrationParameters(max_bandwidth_bytes_per_s=1))


@pytest.mark.parametrize("postcopy", [NOT, ASKED])
def test_only_a_post_copy_is_recovered(postcopy):
    require_in_postcopy(entry(postcopy=BROKEN))
    require_in_postcopy(entry(postcopy=ACTIVE))
    with pytest.raises(GodwitError, match="is not in post-copy"):
        require_in_postcopy(entry(postcopy=postcopy))
    with pytest.raises(GodwitError, match="has ended"):
        require_in_postcopy(entry(JobState.ENDED, ACTIVE))


@pytest.mark.parametrize(
    "parameters",
    [
        MigrationParameters(),
        MigrationParameters(max_bandwidth_bytes_per_s=0),
        MigrationParameters(max_bandwidth_bytes_per_s=-5),
        MigrationParameters(downtime_limit_ms=0),
        MigrationParameters(downtime_limit_ms=2_000_001),
    ],
)
def test_figures_that_mean_nothing_are_refused(parameters):
    with pytest.raises(GodwitError) as refused:
        require_changeable(entry(), parameters)
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_a_reason_is_noted_once_for_each_break():
    def notes(*texts: str) -> tuple[Note, ...]:
        return tuple(Note(at_ms=at_ms, text=text) for at_ms, text in enumerate(texts))

    broken = f"{BROKE_OFF}: client socket is closed"
    assert is_news(notes(broken), "no route")
    assert not is_news(notes(broken, "no route", "asked for"), "no route")
    assert is_news(notes(broken, "no route", "goes on", broken), "no route")
