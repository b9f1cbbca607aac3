"""Where the backend is and how to show who we are: environment variables, each also an option."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from wire.config import ConfigError, TlsFiles

BACKEND = "GODWIT_BACKEND"
TOKEN_FILE = "GODWIT_TOKEN_FILE"  # noqa: S105 - the name of a variable
CA_FILE = "GODWIT_CA_FILE"
CERT_FILE = "GODWIT_CERT_FILE"
KEY_FILE = "GODWIT_KEY_FILE"
VARIABLES = (BACKEND, TOKEN_FILE, CA_FILE, CERT_FILE, KEY_FILE)
"""All that must be set, in the order in which errors and help name them."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One backend, and the token and certificate to show to it."""

    backend_url: str
    """``https://10.77.1.2:8700``, without a path and without a slash at its end."""
    token_file: Path
    tls: TlsFiles


def settings_from(values: Mapping[str, str | None]) -> Settings:
    """Make settings of the variables' values, wherever each came from.

    Raises:
        ConfigError: variables are missing (one sentence names them all), or the backend's
            address is no https URL.
    """
    given = {name: values.get(name) or "" for name in VARIABLES}
    missing = [name for name in VARIABLES if not given[name]]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigError(
            f"{', '.join(missing)} {verb} not set; "
            'in a lab, eval "$(godwit-lab env)" sets all that godwit needs'
        )
    return Settings(
        backend_url=_backend_url(given[BACKEND]),
        token_file=Path(given[TOKEN_FILE]).expanduser(),
        tls=TlsFiles(
            ca_file=Path(given[CA_FILE]).expanduser(),
            cert_file=Path(given[CERT_FILE]).expanduser(),
            key_file=Path(given[KEY_FILE]).expanduser(),
        ),
    )


def _backend_url(text: str) -> str:
    """Check an address such as ``https://backend:8700``."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ConfigError(
            f"{BACKEND} is {text!r}, and should be an address such as https://10.77.1.2:8700"
        )
    return f"{parts.scheme}://{parts.netloc}"
