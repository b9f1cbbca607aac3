"""The backend's configuration file."""

from pathlib import Path

import msgspec

from wire.config import EtcdConfig, TlsFiles


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told of hosts that die, see :mod:`backend.health.notices`."""

    webhook_url: str = ""
    """Each event is sent here as JSON, by POST."""
    webhook_token_file: Path | None = None
    """Mode 0600: sent along as ``Authorization: Bearer``."""
    command: tuple[str, ...] = ()
    """Run for each event with the same JSON in its standard input; no shell is between."""


class BackendConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One backend. See ``wire.config.load_config`` for how errors are told."""

    listen: str
    """``address:port`` for consoles."""
    name: str
    """Names this backend in the leader key and in logs."""
    agent_token_file: Path
    """Mode 0600: the token that agents expect."""
    tokens_file: Path
    """Mode 0600: who may use the API, see :mod:`backend.tokens`."""
    tls: TlsFiles
    etcd: EtcdConfig
    notify: NotifyConfig = NotifyConfig()
