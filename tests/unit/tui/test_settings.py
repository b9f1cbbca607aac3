from pathlib import Path

import pytest

from tui.settings import VARIABLES, settings_from
from wire.config import ConfigError

COMPLETE = {
    "GODWIT_BACKEND": "https://10.77.1.2:8700/",
    "GODWIT_TOKEN_FILE": "/run/token",
    "GODWIT_CA_FILE": "/run/ca.pem",
    "GODWIT_CERT_FILE": "~/cert.pem",
    "GODWIT_KEY_FILE": "/run/key.pem",
}


def test_a_complete_environment():
    settings = settings_from(COMPLETE)
    assert settings.backend_url == "https://10.77.1.2:8700"
    assert settings.token_file == Path("/run/token")
    assert settings.tls.cert_file == Path.home() / "cert.pem"


@pytest.mark.parametrize("name", VARIABLES)
def test_each_missing_variable_is_named(name: str):
    with pytest.raises(ConfigError, match=f"^{name} is not set; in a lab, eval"):
        settings_from({**COMPLETE, name: ""})


def test_all_missing_variables_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        settings_from({})
    assert str(caught.value).startswith(f"{', '.join(VARIABLES)} are not set; in a lab, eval")


@pytest.mark.parametrize(
    "address",
    [
        "10.77.1.2:8700",
        "http://10.77.1.2:8700",
        "https://",
        "https://host:port",
        "https://host:99999",
        "https://host/path",
        "https://user@host",
        "https://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_with_its_value(address: str):
    with pytest.raises(ConfigError, match="should be an address such as https://") as caught:
        settings_from({**COMPLETE, "GODWIT_BACKEND": address})
    assert repr(address) in str(caught.value)
