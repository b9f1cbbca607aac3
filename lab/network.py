"""The lab's network: a bridge, a port for each node, and what slows or cuts a port."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lab.errors import LabError
from lab.processes import run
from lab.state import LinkLimit, Node, Resources

_LATENCY_MS = 50
_DISABLED, _FORWARDING = "0", "3"
"""States of a bridge's port (``BR_STATE_DISABLED``, ``BR_STATE_FORWARDING``)."""


class LinkBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What has passed a host's link since the host was started, Ethernet's headers included."""

    received_bytes: int
    """By the host."""
    sent_bytes: int


def _links() -> dict[str, str]:
    """Every interface of the machine and its address (MAC)."""
    listing = json.loads(run(["ip", "-json", "link", "show"]))
    return {link["ifname"]: link.get("address", "") for link in listing}


def subnet_is_free(subnet: int) -> bool:
    """Whether no interface of ours and no route uses 10.77.<subnet>.0/24."""
    taken = run(["ip", "-4", "route", "show", "to", "match", f"10.77.{subnet}.1", "table", "all"])
    nearer = [line for line in taken.splitlines() if line and not line.startswith("default")]
    return not nearer and f"godwit{subnet}" not in _links()


def bridge_exists(lab: Resources) -> bool:
    """Whether this lab's own bridge is there."""
    return _links().get(lab.bridge) == lab.mac(0)


def make_bridge(lab: Resources) -> None:
    """Make the bridge with the machine's address in the lab."""
    run(["ip", "link", "add", lab.bridge, "address", lab.mac(0), "type", "bridge"])
    run(["ip", "address", "add", f"{lab.address(1)}/24", "dev", lab.bridge])
    run(["ip", "link", "set", lab.bridge, "up"])


def remove_links(lab: Resources) -> None:
    """Remove the bridge and the ports that carry this lab's addresses, and nothing else."""
    present = _links()
    mine = [(lab.port(node.number), lab.mac(node.number)) for node in lab.nodes]
    for name, mac in [*mine, (lab.bridge, lab.mac(0))]:
        if present.get(name) == mac:
            _remove(name)


def _remove(name: str) -> None:
    """Remove an interface that may vanish by itself meanwhile, as a port does with its node."""
    try:
        run(["ip", "link", "delete", name])
    except LabError:
        if name in _links():
            raise


def connect(lab: Resources, node: Node, pid: int) -> None:
    """Lead a cable from the bridge into the network namespace of ``pid``, where it is ``eth0``."""
    port = lab.port(node.number)
    if _links().get(port) == lab.mac(node.number):
        _remove(port)
    near = ["name", port, "address", lab.mac(node.number)]
    # a card keeps its address over a power cut: its peers remember it
    far = ["name", "eth0", "address", lab.card_mac(node.number), "netns", str(pid)]
    run(["ip", "link", "add", *near, "type", "veth", "peer", *far])
    run(["ip", "link", "set", port, "master", lab.bridge, "up"])


def link_bytes(lab: Resources, node: Node) -> LinkBytes:
    """Read the counters of the bridge's port that leads to a node that is on."""
    counters = Path(f"/sys/class/net/{lab.port(node.number)}/statistics")
    # what the port sends, the node receives
    received, sent = (int((counters / name).read_bytes()) for name in ("tx_bytes", "rx_bytes"))
    return LinkBytes(received_bytes=received, sent_bytes=sent)


def set_partition(lab: Resources, node: Node, *, cut: bool) -> None:
    """Let the bridge drop everything to and from a node, its interface staying up, or heal that."""
    port = lab.port(node.number)
    # a bridge lets a port forward when its other end comes up, so that has to be over
    wait_for_carrier(port)
    state = _DISABLED if cut else _FORWARDING
    run(["bridge", "link", "set", "dev", port, "state", state])


def cut_off_backend(pid: int, ports: Sequence[int], *, cut: bool) -> None:
    """Drop all that the backend in the controller's namespace exchanges, or heal that.

    ``ports`` are those that it asks: etcd's and the agents'. Consoles still reach the backend, and
    agents reach etcd: they come from elsewhere.
    """
    filters = ["nsenter", f"--net=/proc/{pid}/ns/net", "iptables", "--wait"]
    for port in ports:
        for chain, side in (("OUTPUT", "--dport"), ("INPUT", "--sport")):
            rule = [chain, "--protocol", "tcp", side, str(port), "--jump", "DROP"]
            run([*filters, "--append" if cut else "--delete", *rule])


def wait_for_carrier(port: str) -> None:
    """Wait until the other end of a port's cable is up.

    Raises:
        LabError: it is not within ten seconds.
    """
    carrier = Path(f"/sys/class/net/{port}/carrier")
    deadline = time.monotonic() + 10
    while carrier.read_text(encoding="ascii") != "1\n":
        if time.monotonic() > deadline:
            raise LabError(f"the other end of {port} does not come up")
        time.sleep(0.005)


def check_delay() -> None:
    """See whether this kernel can delay packets.

    Raises:
        LabError: it cannot.
    """
    trial = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    try:
        run(["unshare", "--net", *trial])
    except LabError as error:
        raise LabError(
            f"this machine's kernel cannot delay packets (module sch_netem): {error}"
        ) from None


def set_limit(lab: Resources, node: Node, pid: int, limit: LinkLimit) -> None:
    """Slow a node's link in both directions: its own side, and the bridge's port towards it.

    Raises:
        LabError: the kernel cannot do it; then nothing has changed.
    """
    if limit.delay_ms:
        check_delay()
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    _limit_device([], lab.port(node.number), limit)
    _limit_device(inside, "eth0", limit)


def _limit_device(prefix: list[str], device: str, limit: LinkLimit) -> None:
    """Give one end of a cable this limit: ``netem`` for the delay, in it ``tbf`` for the rate."""
    shown = json.loads(run([*prefix, "tc", "-json", "qdisc", "show", "dev", device]))
    present = next((queue["kind"] for queue in shown if queue.get("root")), "noqueue")
    wanted = "netem" if limit.delay_ms else "tbf" if limit.rate_bits_per_s else "noqueue"
    if present not in {wanted, "noqueue"}:
        run([*prefix, "tc", "qdisc", "delete", "dev", device, "root"])
    place = ["root", "handle", "1:"]
    change = [*prefix, "tc", "qdisc", "replace", "dev", device]
    if limit.delay_ms:
        run([*change, *place, "netem", "delay", f"{limit.delay_ms:g}ms", "limit", "100000"])
        place = ["parent", "1:1", "handle", "2:"]
    if limit.rate_bits_per_s:
        rate = f"{limit.rate_bits_per_s}bit"
        burst = f"{burst_bytes(limit.rate_bits_per_s)}"
        bucket = ["rate", rate, "burst", burst, "latency", f"{_LATENCY_MS}ms"]
        run([*change, *place, "tbf", *bucket])


def burst_bytes(rate_bits_per_s: int) -> int:
    """Bucket of the token filter: 5 ms of the rate, at least one train of segments (64 KiB)."""
    return max(72 * 1024, rate_bits_per_s // 8 // 200)


def parse_rate(text: str) -> int:
    """Read ``400mbit``, ``1gbit``, ``2500kbit`` into bits per second.

    Raises:
        LabError: another unit, or not a positive number.
    """
    for unit, factor in (("kbit", 10**3), ("mbit", 10**6), ("gbit", 10**9)):
        number = text.lower().removesuffix(unit)
        if number != text.lower() and _is_positive(number):
            return round(float(number) * factor)
    raise LabError(f"{text!r} is no rate: give a positive number with kbit, mbit or gbit")


def parse_delay(text: str) -> float:
    """Read ``5ms`` or ``0.5s`` into milliseconds.

    Raises:
        LabError: another unit, or not a positive number.
    """
    for unit, factor in (("ms", 1.0), ("s", 1000.0)):
        number = text.lower().removesuffix(unit)
        if number != text.lower() and _is_positive(number):
            return float(number) * factor
    raise LabError(f"{text!r} is no delay: give a positive number with ms or s")


def _is_positive(number: str) -> bool:
    return number.replace(".", "", 1).isdecimal() and float(number) > 0
