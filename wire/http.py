"""Sentences for what can go wrong between a client and one of our servers."""

import ssl
from http import HTTPStatus

import httpx
import msgspec

from wire.errors import ErrorBody, ErrorCode, GodwitError

_OTHER_NAME = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""


def explain(error: httpx.HTTPError, url: str) -> str:
    """Say in one sentence why no answer came from ``url``."""
    cause = _ssl_cause(error)
    if cause is not None:
        return f"{url}: TLS failed: {_explain_tls(cause)}"
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return f"{url} did not accept a connection in time"
        case httpx.TimeoutException():
            return f"{url} accepted the connection but did not answer in time"
        case httpx.ConnectError():
            return f"{url} cannot be reached: {_inner_text(error)}"
        case httpx.ReadError() | httpx.RemoteProtocolError() if _hung_up(error):
            # TLS 1.3 servers judge our certificate after the handshake, and many just hang up
            return (
                f"{url} closed the connection without an answer: it went down just now, "
                "or it does not accept our certificate, which must be of its own CA"
            )
        case _:
            return f"{url}: the connection broke: {_inner_text(error)}"


def raise_for_error(response: httpx.Response) -> None:
    """Turn an :class:`ErrorBody` answer into the error it carries.

    Raises:
        GodwitError: the answer is no success.
    """
    if response.is_success:
        return
    try:
        body = msgspec.json.decode(response.content, type=ErrorBody)
    except msgspec.DecodeError:
        words = HTTPStatus(response.status_code).phrase
        raise GodwitError(
            ErrorCode.INTERNAL,
            f"{response.url} answered {response.status_code} {words} without saying why",
        ) from None
    raise GodwitError(body.code, body.message, candidates=body.candidates)


def _ssl_cause(error: BaseException) -> ssl.SSLError | None:
    seen: BaseException | None = error
    while seen is not None:
        # A time-out during the handshake leaves a "want read" behind, which says nothing.
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLWantReadError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _hung_up(error: httpx.HTTPError) -> bool:
    return str(error) in {"", "Server disconnected without sending a response."}


def _explain_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return f"its certificate is of our CA but for another name ({error.verify_message})"
        return (
            f"its certificate is not of the CA that we were told to trust ({error.verify_message})"
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason and ("ca" in reason.split() or "certificate" in reason):
        return f"it does not accept our certificate, which must be of its own CA ({reason})"
    return reason


def _inner_text(error: BaseException) -> str:
    text = str(error)
    return text[len("[Errno ") :].partition("] ")[2] if text.startswith("[Errno ") else text
