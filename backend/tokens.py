"""Who may use the API: named tokens with a role, stored as hashes."""

from pathlib import Path
from typing import Annotated

import msgspec

from wire.config import ConfigError, read_secret
from wire.role import Role
from wire.server import token_matches


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[token]]`` of the tokens file."""

    name: str
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
    """Hex digest of the token itself, which is stored nowhere."""


class _TokensFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: tuple[Token, ...]


def load_tokens(path: Path) -> tuple[Token, ...]:
    """Read the tokens file, which only its owner may read.

    Raises:
        ConfigError: missing, readable by others, or not of the form above.
    """
    try:
        return msgspec.toml.decode(read_secret(path), type=_TokensFile).token
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def find_token(tokens: tuple[Token, ...], presented: str) -> Token | None:
    """Find whose token this is; None for nobody's."""
    matching = [token for token in tokens if token_matches(presented, token.sha256)]
    return matching[0] if matching else None
