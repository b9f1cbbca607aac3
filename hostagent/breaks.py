"""What is told of a post-copy: that it began, broke off, was not recovered, went on."""

from hostagent.domain import State
from hostagent.ledger import Ledger
from hostagent.postcopy import BROKE_OFF, NOT_RECOVERED, is_news, observed_postcopy
from wire.migration import PostcopyState


def see_state(ledger: Ledger, source: State, error: str, *, calling: bool) -> None:
    """Take the state of the domain on the source.

    Args:
        ledger: of the job.
        source: the state.
        error: of the last call that ended; empty if it had none.
        calling: a call is still under way, and will say why it broke off.
    """
    before = ledger.job.postcopy
    now = observed_postcopy(before, source)
    if now is before or (now is PostcopyState.PAUSED and calling):
        return
    ledger.change(postcopy=now)
    if now is PostcopyState.PAUSED:
        ledger.note(f"{BROKE_OFF}: {error or 'libvirt gives no reason'}")
    elif before is PostcopyState.PAUSED:
        ledger.note("post-copy goes on")
    else:
        ledger.note(f"the guest runs on {ledger.entry.command.target_host_name} by post-copy")


def see_failure(ledger: Ledger, error: str) -> None:
    """Take the error of a call; a recovery is asked for again, and the same reason noted once."""
    if ledger.job.recovering:
        ledger.change(recovering=False)
    text = f"{NOT_RECOVERED}: {error}"
    if ledger.job.postcopy is PostcopyState.PAUSED and is_news(ledger.job.notes, text):
        ledger.note(text)


def see_arrival(ledger: Ledger) -> None:
    """Take the end of a call that succeeded: a recovery may be over before anybody has looked."""
    if ledger.job.postcopy is PostcopyState.PAUSED:
        ledger.change(postcopy=PostcopyState.ACTIVE)
        ledger.note("post-copy went on")
