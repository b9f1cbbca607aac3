"""Configuration files: TOML into frozen structs, with errors that name file and field."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec


class ConfigError(Exception):
    """A configuration file that cannot be used; the message is one sentence."""


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PEM files of one program: the fleet's CA, and its own certificate and key."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class EtcdConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where etcd is. ``endpoints`` are ``host:port``; TLS is always used."""

    endpoints: tuple[str, ...]
    tls: TlsFiles
    timeout_s: float = 2.0
    """Of each single call to one endpoint."""


ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


def load_config(path: Path, kind: type[ConfigT]) -> ConfigT:
    """Read a TOML file into a struct.

    Raises:
        ConfigError: the file is missing, is no TOML, or a field is missing, unknown or of the
            wrong type; the sentence names the file and the field.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind, dec_hook=_decode_path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _decode_path(kind: type[Any], value: Any) -> Any:
    """Make the one type of these structs that msgspec does not know."""
    if kind is not Path:
        raise NotImplementedError
    return Path(value)


def read_secret(path: Path) -> str:
    """Read a secret from a file that only its owner can read.

    Raises:
        ConfigError: missing, empty, readable by others, or no UTF-8 text.
    """
    try:
        mode = path.stat().st_mode & 0o777
        secret = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text; a token is one line of printable ASCII") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: mode {mode:04o} lets others read this secret; it must be 0600")
    if not secret:
        raise ConfigError(f"{path}: empty, and should hold a token")
    return secret


def read_token(path: Path) -> str:
    """Read a bearer token from a file that only its owner can read.

    Raises:
        ConfigError: as of :func:`read_secret`, or no line of printable ASCII.
    """
    token = read_secret(path)
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(f"{path}: a token is one line of printable ASCII")
    return token
