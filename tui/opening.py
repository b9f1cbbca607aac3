"""Opening the console on this terminal, with this backend."""

import codecs
import os
import sys
from urllib.parse import urlsplit

from tui.app import Console
from tui.client import Client
from tui.desk import Desk
from tui.plot import GraphStyle
from tui.settings import Settings
from wire.config import ConfigError

GRAPH = "GODWIT_GRAPH"


def graph_style() -> GraphStyle:
    """Read the wanted style of graphs from ``GODWIT_GRAPH``; ASCII where the terminal has no UTF-8.

    Raises:
        ConfigError: it names none.
    """
    # Textual draws through standard error.
    encoding = codecs.lookup(getattr(sys.stderr, "encoding", None) or "ascii").name
    usual = GraphStyle.BRAILLE if encoding.startswith("utf") else GraphStyle.ASCII
    wanted = os.environ.get(GRAPH) or usual
    try:
        return GraphStyle(wanted)
    except ValueError:
        known = ", ".join(GraphStyle)
        raise ConfigError(f"{GRAPH} is {wanted!r}, and should be one of {known}") from None


def run(settings: Settings, *, read_only: bool, mouse: bool) -> None:
    """Open the console and stay until it is left.

    Raises:
        ConfigError: the token, a TLS file or ``GODWIT_GRAPH`` cannot be used.
        SystemExit: the console failed.
    """
    desk = Desk(
        client=Client(settings),
        address=urlsplit(settings.backend_url).netloc,
        read_only_wanted=read_only,
        graph=graph_style(),
    )
    console = Console(desk)
    console.run(mouse=mouse)
    if console.return_code:
        # Textual has printed what went wrong.
        sys.exit(console.return_code)
