from pathlib import Path

import pytest

from wire.config import ConfigError, EtcdConfig, load_config, read_secret, read_token


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.toml: no such configuration file"):
        load_config(tmp_path / "absent.toml", EtcdConfig)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("endpoints = [", "file.toml"),
        ('endpoints = ["a:1"]', "tls"),
        ('endpoints = "a:1"', "endpoints"),
        ('endpoints = ["a:1"]\nendpoint = 1', "endpoint"),
    ],
)
def test_a_wrong_file_names_file_and_field(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "file.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config(path, EtcdConfig)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="must be 0600"):
        read_secret(path)


def test_a_secret_is_read_without_its_newline(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text("abc\n")
    path.chmod(0o600)
    assert read_secret(path) == "abc"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x81", b"two\nlines", "umläut".encode()])
def test_a_token_that_no_header_can_carry_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="one line of printable ASCII"):
        read_token(path)


def test_an_empty_secret_is_refused(tmp_path: Path):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    with pytest.raises(ConfigError, match="empty"):
        read_secret(path)
