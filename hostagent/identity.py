"""Which host this is: libvirt's UUID of it, as it was when the agent first ran here."""

from pathlib import Path

from wire.errors import ErrorCode, GodwitError

_FILE = "host-id"


class Identity:
    """Kept in ``<state_dir>/host-id``.

    Without a UUID of the machine libvirtd makes one up at each of its starts. A host that followed
    it would take its own servers for somebody else's, and end them.
    """

    def __init__(self, state_dir: Path) -> None:
        """Prepare; nothing is read yet.

        Args:
            state_dir: the agent's.
        """
        self._path = state_dir / _FILE

    def require(self, host_id: str) -> None:
        """Keep a host's first UUID, and refuse every other one. Blocks.

        Raises:
            GodwitError: ``INTERNAL``, it is another one, or it cannot be kept.
        """
        try:
            kept = self._kept()
            if not kept:
                self._keep(host_id)
                return
        except OSError as error:
            raise GodwitError(
                ErrorCode.INTERNAL, f"this host's UUID cannot be kept in {self._path}: {error}"
            ) from None
        if kept != host_id:
            raise GodwitError(
                ErrorCode.INTERNAL,
                f"libvirt calls this host {host_id}, and it is {kept} ({self._path}): give "
                f'host_uuid = "{kept}" or host_uuid_source = "machine-id" in libvirtd.conf',
            )

    def _kept(self) -> str:
        try:
            return self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""

    def _keep(self, host_id: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{host_id}\n", encoding="ascii")
        fresh.replace(self._path)
