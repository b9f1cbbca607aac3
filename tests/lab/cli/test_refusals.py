"""Bad input on real hosts: one sentence, the right exit status, and nothing changed."""

import pytest

from lab.certificates import issue, new_authority, write_key_pair, write_secret
from wire.candidates import Candidate

pytestmark = pytest.mark.lab


def test_unknown_names(operator, add_known, unchanged):
    spec = add_known()
    with unchanged():
        for verb in ("server-live-migrate", "server-cancel-live-migrate"):
            assert "'no-such-server'" in operator.refused(2, verb, "no-such-server")
        sentence = operator.refused(2, "server-live-migrate", "--prefer-host", "kvm-99", spec.name)
        assert "'kvm-99'" in sentence
        assert "'no-such-id'" in operator.refused(2, "migration-show", "no-such-id")
        assert "'kvm-99'" in operator.refused(
            2, "server-migrate-forecast", "--live-migrate", "--prefer-host", "kvm-99", spec.name
        )


def test_a_target_equal_to_the_source(operator, add_known, unchanged):
    spec = add_known()
    with unchanged():
        sentence = operator.refused(1, "server-live-migrate", "--prefer-host", "kvm-01", spec.name)
    assert f"{spec.name} is on kvm-01 already" in sentence


def test_a_stopped_server(operator, add_known, unchanged):
    spec = add_known(stopped=True)
    with unchanged():
        sentence = operator.refused(1, "server-live-migrate", spec.name, "--wait")
    assert spec.name in sentence
    assert "needs it running or paused; use server-migrate" in sentence


def test_a_host_that_does_not_fit_is_refused_with_both_values(operator, add_known, unchanged):
    spec = add_known()
    forecast = operator.json(
        list[Candidate], "server-migrate-forecast", "--live-migrate", spec.name
    )
    misfits = [one for one in forecast if not one.fits and one.host_name != "kvm-01"]
    assert misfits
    for misfit in misfits:
        with unchanged():
            done = operator.run("server-live-migrate", "--prefer-host", misfit.host_name, spec.name)
        assert done.returncode == 1
        assert done.stderr.startswith(f"godwit: {spec.name} cannot go to {misfit.host_name}: ")
        assert all(reason in done.stderr for reason in misfit.reasons)


def test_tokens(operator, viewer, add_known, unchanged, tmp_path):
    spec = add_known()
    wrong = tmp_path / "token"
    write_secret(wrong, b"nobody-gave-me-this")
    with unchanged():
        operator.refused(4, "server-live-migrate", spec.name, GODWIT_TOKEN_FILE=str(wrong))
        operator.refused(4, "host-list", GODWIT_TOKEN_FILE=str(wrong))
        viewer.refused(4, "server-live-migrate", spec.name)
    assert viewer.run("host-list").returncode == 0


def test_a_certificate_of_another_ca(operator, add_known, unchanged, tmp_path):
    spec = add_known()
    other = new_authority("another fleet")
    ca_file, cert_file, key_file = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca_file.write_bytes(other.certificate)
    write_key_pair(issue(other, "operator"), cert_file=cert_file, key_file=key_file)
    with unchanged():
        sentence = operator.refused(
            3, "server-live-migrate", spec.name, GODWIT_CA_FILE=str(ca_file)
        )
        assert "its certificate is not of the CA that we were told to trust" in sentence
        own = {"GODWIT_CERT_FILE": str(cert_file), "GODWIT_KEY_FILE": str(key_file)}
        sentence = operator.refused(3, "server-live-migrate", spec.name, **own)
        assert "does not accept our certificate" in sentence
