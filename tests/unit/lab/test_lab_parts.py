"""Names, numbers, certificates and processes of a lab."""

import subprocess
import time

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from lab import cpuinfo
from lab.certificates import issue, new_authority, write_key_pair, write_secret
from lab.errors import LabError
from lab.network import burst_bytes, parse_delay, parse_rate
from lab.processes import identify, is_alive, kill, run
from lab.registry import all_resources, locked, read_resources, write_state
from lab.state import LabShape, LinkLimit, new_state
from lab.status import link_words

CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 167
model name\t: Some CPU
microcode\t: 0x1
flags\t\t: fpu vme

processor\t: 1
vendor_id\t: GenuineIntel
model\t\t: 167
flags\t\t: fpu vme
"""


def test_every_processor_is_fabricated_and_the_rest_stays():
    text = cpuinfo.fabricate(CPUINFO, cpuinfo.COMMON)
    assert text.count(f"model name\t: {cpuinfo.COMMON.model_name}\n") == 2
    assert text.count("microcode\t: 0x42e\n") == 2
    assert "Some CPU" not in text
    assert text.count("flags\t\t: fpu vme\n") == text.count("model\t\t: 167\n") == 2
    assert [block.split("\n")[0] for block in text.strip().split("\n\n")] == [
        "processor\t: 0",
        "processor\t: 1",
    ]


@pytest.mark.parametrize("host_count", [3, 4, 8])
def test_first_hosts_are_alike_and_some_host_differs_in_each_respect(host_count):
    first, second, *others = [cpuinfo.cpu_of_host(i, host_count) for i in range(host_count)]
    assert first == second
    assert any(cpu.microcode != first.microcode for cpu in others)
    assert any(cpu.model_name != first.model_name for cpu in others)


def test_interface_names_fit_and_carry_the_labs_own_addresses():
    widest = new_state("x", subnet=254, shape=LabShape(host_count=32, server_count=0))
    other = new_state("x", subnet=254, shape=LabShape(host_count=32, server_count=0))
    names = {widest.bridge, *(widest.port(node.number) for node in widest.nodes)}
    assert len(names) == 34
    assert max(map(len, names)) <= 15
    assert widest.mac(0) != other.mac(0)


@pytest.mark.parametrize(
    ("text", "bits"), [("400mbit", 400_000_000), ("1gbit", 10**9), ("2.5Mbit", 2_500_000)]
)
def test_rates_are_read(text, bits):
    assert parse_rate(text) == bits


@pytest.mark.parametrize(
    "text", ["", "400", "mbit", "-1mbit", "0mbit", "4 mbit", "1e3kbit", "²mbit"]
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(LabError, match="is no rate"):
        parse_rate(text)


@pytest.mark.parametrize(("text", "milliseconds"), [("5ms", 5.0), ("0.5s", 500.0)])
def test_delays_are_read(text, milliseconds):
    assert parse_delay(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "ms", "-5ms", "0ms", "²ms"])
def test_what_is_no_delay_is_refused(text):
    with pytest.raises(LabError, match="is no delay"):
        parse_delay(text)


def test_bucket_holds_a_segment_train_at_any_rate():
    assert burst_bytes(10_000) >= 65536
    assert burst_bytes(400_000_000) == 250_000


def test_links_are_put_in_words():
    assert link_words(LinkLimit()) == "whole"
    limited = LinkLimit(rate_bits_per_s=400_000_000, delay_ms=5)
    assert link_words(limited) == "400 Mbit/s, 5 ms"


def test_certificate_proves_name_and_address_to_those_who_trust_the_authority():
    authority, stranger = new_authority("lab"), new_authority("other")
    pair = issue(authority, "kvm-01", address="10.77.1.11")
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kvm-01"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.77.1.11"]

    def verify(trusted: bytes) -> None:
        store = Store([x509.load_pem_x509_certificate(trusted)])
        verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName("kvm-01"))
        verifier.verify(certificate, [])

    verify(authority.certificate)
    with pytest.raises(x509.verification.VerificationError):
        verify(stranger.certificate)


def test_keys_and_secrets_are_for_their_owner_alone(tmp_path):
    pair = new_authority("lab")
    write_key_pair(pair, cert_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem")
    (tmp_path / "token").write_text("old")
    (tmp_path / "token").chmod(0o644)
    write_secret(tmp_path / "token", b"new")
    assert (tmp_path / "token").read_bytes() == b"new"
    modes = {(tmp_path / name).stat().st_mode & 0o777 for name in ("key.pem", "token")}
    assert modes == {0o600}


def test_process_is_known_by_pid_and_start_and_is_reaped_when_killed():
    child = subprocess.Popen(["sleep", "60"])
    named = identify(child.pid)
    assert is_alive(named)
    earlier = type(named)(pid=named.pid, started_ticks=named.started_ticks - 1)
    assert not is_alive(earlier)
    kill(earlier)
    assert is_alive(named)
    kill(named)
    assert not is_alive(named)
    child.wait()


def test_zombie_counts_as_dead():
    child = subprocess.Popen(["true"])
    named = identify(child.pid)
    deadline = time.monotonic() + 10
    while is_alive(named):
        assert time.monotonic() < deadline
    child.wait()


def test_failing_program_is_quoted_in_one_sentence():
    with pytest.raises(LabError, match="no-such-program is not installed"):
        run(["no-such-program"])
    with pytest.raises(LabError, match=r"^sh -c .*: one two$"):
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"])


def test_a_lab_that_cannot_be_read_does_not_hide_the_others(monkeypatch, tmp_path):
    monkeypatch.setenv("GODWIT_LAB_ROOT", str(tmp_path))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.json").write_text("{")
    (tmp_path / "whole").mkdir()
    write_state(new_state("whole", subnet=7, shape=LabShape(host_count=1, server_count=0)))
    assert [each.name for each in all_resources()] == ["whole"]
    with pytest.raises(LabError, match=r"broken/state.json cannot be read"):
        read_resources("broken")


def test_an_error_under_a_lock_is_raised_once(tmp_path):
    entered = []

    def fail():
        with locked(tmp_path):
            entered.append(True)
            raise BlockingIOError

    with pytest.raises(BlockingIOError):
        fail()
    assert entered == [True]
