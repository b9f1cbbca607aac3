"""The backend's configuration file."""

from pathlib import Path

import msgspec

from wire.config import EtcdConfig, TlsFiles


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
