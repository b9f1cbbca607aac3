"""A configuration that cannot work is refused with the field's name."""

import subprocess
import sys
from pathlib import Path

import pytest

from hostagent.config import AgentConfig
from wire.config import ConfigError, load_config

GOOD = """\
listen = "192.0.2.11:8600"
address = "192.0.2.11"
shared_pools = ["images"]
token_sha256 = "{digest}"

[tls]
ca_file = "ca.pem"
cert_file = "cert.pem"
key_file = "key.pem"

[etcd]
endpoints = ["192.0.2.1:2379"]
[etcd.tls]
ca_file = "ca.pem"
cert_file = "cert.pem"
key_file = "key.pem"
""".format(digest="ab" * 32)


def written(folder: Path, text: str) -> Path:
    path = folder / "hostagent.toml"
    path.write_text(text)
    return path


def test_what_is_left_out_has_its_usual_value(tmp_path):
    config = load_config(written(tmp_path, GOOD), AgentConfig)
    assert config.agent_url == "https://192.0.2.11:8600"
    assert config.state_dir == Path("/var/lib/godwit")
    assert (config.lease_ttl_s, config.libvirt_uri) == (10, "qemu:///system")
    assert config.nbd_port_range == range(49300, 49400)


@pytest.mark.parametrize(
    ("right", "wrong", "field"),
    [
        ('listen = "192.0.2.11:8600"', 'listen = "192.0.2.11"', "$.listen"),
        ("ab" * 32, "secret", "$.token_sha256"),
        ('["images"]', '"images"', "$.shared_pools"),
        ("shared_pools", "shared_pool", "shared_pool"),
        ("[tls]", 'nbd_ports = "all"\n[tls]', "$.nbd_ports"),
        ("[tls]", "lease_ttl_s = 1\n[tls]", "$.lease_ttl_s"),
        ('address = "192.0.2.11"', "", "address"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, right, wrong, field):
    path = written(tmp_path, GOOD.replace(right, wrong))
    with pytest.raises(ConfigError) as caught:
        load_config(path, AgentConfig)
    assert str(caught.value).startswith(f"{path}: ")
    assert field in str(caught.value)


def test_the_program_says_it_in_one_sentence(tmp_path):
    for path in (tmp_path / "missing.toml", written(tmp_path, GOOD)):
        done = subprocess.run(
            [sys.executable, "-m", "hostagent.main", "--config", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("godwit-hostagent: ")
        assert len(done.stderr.splitlines()) == 1
