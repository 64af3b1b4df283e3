"""Bind, serve, and stop in order."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from understudy.errors import ConfigError
from understudy.serve.app import Served, build_app
from understudy.serve.picture import Job
from understudy.serve.protocol import MAX_HEAD_BYTES, bounded_protocol
from understudy.serve.settings import ServeSettings

INTERRUPTED = 130
_BACKLOG = 128


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The one address that a host name stands for.

    Raises
    ------
    ConfigError
        It stands for none.
    """
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"host {host!r} is no address of this machine: {error}") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), port)


def check_exposure(settings: ServeSettings) -> bool:
    """Whether only this machine reaches the server; elsewhere a token must be set.

    Raises
    ------
    ConfigError
        Others reach it, and there is no token.
    """
    _, (address, _) = resolve(settings.host, settings.port)
    is_loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    if not settings.token and (not is_loopback or settings.hosts):
        what = f"hosts={','.join(settings.hosts)}" if is_loopback else f"host={settings.host}"
        raise ConfigError(
            f"{what} lets others reach the server, and there is no token: put one into the environment variable "
            "UNDERSTUDY_TOKEN or into a file named by token_file, or leave host=127.0.0.1"
        )
    return is_loopback


def bind(settings: ServeSettings) -> socket.socket:
    """A socket bound to the settings' address.

    Raises
    ------
    ConfigError
        The address is taken or not this machine's.
    """
    family, address = resolve(settings.host, settings.port)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"cannot listen on {address[0]} port {settings.port}: {(error.strerror or str(error)).lower()}; "
            "choose another with port=NUMBER (0: any free one)"
        ) from error
    return bound


def run_server(job: Job, settings: ServeSettings, say: Callable[[str], None]) -> int:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    job : Job
    settings : ServeSettings
    say : callable
        Told when the server listens, and when it stops.

    Returns
    -------
    int
        0 after SIGTERM, 130 after SIGINT.

    Raises
    ------
    ConfigError
        It cannot listen where it should, or others would reach it without a token.
    """
    is_loopback = check_exposure(settings)
    bound = bind(settings)
    served = build_app(job, settings, is_loopback=is_loopback)
    logging.getLogger("uvicorn.error").disabled = True  # its messages hold what clients sent
    received = asyncio.run(_serve(served, settings, bound, say))
    if not served.worker.join(0.1):
        say("the picture that was worked on took too long and was given up")
        os._exit(INTERRUPTED if received is signal.SIGINT else 0)  # a thread in native code cannot be ended otherwise
    return INTERRUPTED if received is signal.SIGINT else 0


class Server(uvicorn.Server):
    """uvicorn's server; signals are left to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def make_server(served: Served, settings: ServeSettings) -> Server:
    """Uvicorn around an app, with the limits of the settings."""
    return Server(
        uvicorn.Config(
            served.app,
            http=bounded_protocol(settings, served.count),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=math.ceil(settings.stop_s),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
    )


async def _serve(
    served: Served, settings: ServeSettings, bound: socket.socket, say: Callable[[str], None]
) -> signal.Signals | None:
    """Run uvicorn until a signal comes; the first one stops in order, a second one at once."""
    server = make_server(served, settings)
    received: signal.Signals | None = None

    def stop(number: signal.Signals) -> None:
        nonlocal received
        server.force_exit = server.should_exit
        server.should_exit = True
        if received is None:
            say("stopping: the picture that is worked on is finished, those that wait are turned away")
        received = received or number
        served.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    bound.listen(_BACKLOG)
    name, port = bound.getsockname()[:2]
    say(f"listening on http://{f'[{name}]' if ':' in name else name}:{port}/ (Ctrl-C stops)")
    await server.serve(sockets=[bound])
    return received
