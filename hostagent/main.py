"""The program ``godwit-hostagent``."""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hostagent.agent import Agent
from hostagent.config import AgentConfig
from hostagent.connection import start_event_loop
from hostagent.shutdown import DEFAULT_WITHIN_S, shut_down_host
from wire.config import ConfigError, load_config
from wire.etcd import Etcd
from wire.tls import client_context

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the agent until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="godwit-hostagent", description="Godwit's agent on one KVM host."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--host-shuts-down",
        action="store_true",
        help="say that this host is being shut down, wait until its servers have left, and end",
    )
    parser.add_argument(
        "--within",
        type=int,
        default=DEFAULT_WITHIN_S,
        metavar="SECONDS",
        help="how long to wait for that at most (default %(default)s)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        config = load_config(arguments.config, AgentConfig)
        client_context(config.tls)  # says now what the server would stumble over
        etcd = Etcd(config.etcd)
    except ConfigError as error:
        sys.exit(f"godwit-hostagent: {error}")
    if arguments.host_shuts_down:
        shut_down_host(config, etcd, within_s=arguments.within, say=_say)
        return
    start_event_loop()
    status = 0
    try:
        asyncio.run(_run(config, etcd))
    except Exception:  # noqa: BLE001 - told, and then the process ends
        _log.exception("the agent ends by a fault of its own")
        status = 1
    logging.shutdown()
    # threads that wait in libvirt cannot be ended, and crash the interpreter's own end
    os._exit(status)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what the person, or systemd's journal, is told


def _serving(agent: Agent, config: AgentConfig) -> Coroutine[Any, Any, None]:
    from hostagent.api import make_app  # noqa: PLC0415 - see who calls
    from wire.server import serve  # noqa: PLC0415

    return serve(
        make_app(agent, token_sha256=config.token_sha256),
        listen=config.listen,
        tls=config.tls,
        on_stop=agent.broadcast.end,
    )


async def _run(config: AgentConfig, etcd: Etcd) -> None:
    agent = Agent(config, etcd)
    await agent.load()
    living = asyncio.create_task(agent.run())
    # what serves takes as long to import as all else: the host's key is taken meanwhile
    serving = asyncio.create_task(await asyncio.to_thread(_serving, agent, config))
    done, _ = await asyncio.wait({living, serving}, return_when=asyncio.FIRST_COMPLETED)
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living
    for task in done:
        task.result()


if __name__ == "__main__":
    main()
