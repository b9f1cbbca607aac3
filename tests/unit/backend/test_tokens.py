"""Tokens are found by their hash, in a file that only its owner can read."""

import hashlib
from pathlib import Path

import pytest

from backend.tokens import find_token, load_tokens
from wire.config import ConfigError
from wire.console import Role


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def entry(name: str, token: str, role: str = "viewer") -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'[[token]]\nname = "{name}"\nrole = "{role}"\nsha256 = "{digest.upper()}"\n'


def test_a_token_is_found_by_what_was_presented(tmp_path):
    text = entry("alice", "one", "operator") + entry("bob", "two")
    tokens = load_tokens(write(tmp_path / "tokens.toml", text))
    assert (find_token(tokens, "one").name, find_token(tokens, "one").role) == (
        "alice",
        Role.OPERATOR,
    )
    assert find_token(tokens, "two").name == "bob"
    assert find_token(tokens, "three") is None
    assert find_token(tokens, "") is None


@pytest.mark.parametrize("digest", ["", "the-token-itself", "é" * 64])
def test_what_is_no_digest_is_refused_before_anyone_presents_a_token(tmp_path, digest):
    text = f'[[token]]\nname = "alice"\nrole = "viewer"\nsha256 = "{digest}"\n'
    with pytest.raises(ConfigError, match=r"tokens\.toml.*sha256"):
        load_tokens(write(tmp_path / "tokens.toml", text))


def test_a_file_that_others_can_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="0644"):
        load_tokens(write(tmp_path / "tokens.toml", entry("a", "b"), 0o644))


@pytest.mark.parametrize(
    "text", ["token = 1", '[[token]]\nname = "a"', entry("a", "b", "king"), "x ="]
)
def test_a_file_of_another_form_is_refused_with_its_name(tmp_path, text):
    with pytest.raises(ConfigError, match=r"tokens\.toml"):
        load_tokens(write(tmp_path / "tokens.toml", text))
