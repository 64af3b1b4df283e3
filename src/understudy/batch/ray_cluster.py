"""A Ray cluster for the time of a run: one of this machine that nobody else can reach, or one that is there."""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from understudy.batch.ray_settings import RaySettings
from understudy.errors import MissingExtraError, UnderstudyError

T = TypeVar("T")

N_STARTS = 3
_LOOPBACK = "127.0.0.1"
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_prestart_worker_first_driver": "0",  # workers start when there is work: a start takes less of a busy machine
    # on a busy machine Ray's helpers take long to start, and the node ends itself where they are late
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_task_oom_retries": "3",  # else a picture for which no machine is large enough is tried for ever
}


class ClusterError(UnderstudyError):
    """The cluster cannot be reached, or failed as a whole."""


@contextmanager
def connected(settings: RaySettings) -> Iterator[None]:
    """Be connected to a cluster; one of this machine is started for it, and stopped afterwards.

    A cluster of this machine lets in nobody without the token that is drawn for it, shows no dashboard and sends no
    statistics. Its files (logs, and pictures where shared memory is full) lie in a temporary folder that is deleted.

    Raises
    ------
    ClusterError
        There is none at the address, or none could be started.
    MissingExtraError
        Ray is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if settings.address is None and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # Ray's servers listen on every interface of the machine, whatever address they are told. Ray reads this once,
        # when it is imported.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(f"runner=ray needs ray: pip install 'understudy[ray,tables]' ({error})") from error

    if ray.is_initialized():  # the caller's own
        yield
        return
    folder = _start(settings) if settings.address is None else None
    if settings.address is not None:
        try:
            ray.init(address=settings.address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # Ray raises plain exceptions, too
            raise ClusterError(f"no Ray cluster at {settings.address!r}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(settings: RaySettings) -> str:
    """A cluster of this machine; its folder. Ray gives itself half a minute, too little on a very busy machine."""
    for attempt in range(N_STARTS):
        folder = tempfile.mkdtemp(prefix="understudy-ray-")
        try:
            _start_in(settings, folder)
        except Exception as error:  # as above
            _end_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)
            if attempt == N_STARTS - 1 or "timed out during startup" not in str(error):
                raise ClusterError(f"no Ray cluster on this machine: {error}") from error
        else:
            return folder
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _end_processes(folder: str) -> None:
    """End what a start that failed has left: the processes that name its folder, which nobody else knows."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)


def _start_in(settings: RaySettings, folder: str) -> None:
    import ray

    needed = settings.max_actors * settings.actor_cpus + 2 * settings.max_tasks * settings.task_cpus
    ray.init(
        num_cpus=max(os.cpu_count() or 1, math.ceil(needed)),  # Ray's own count of who may run, not of cores
        object_store_memory=settings.object_store_mb << 20,
        include_dashboard=False,
        configure_logging=True,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _node_ip_address=_LOOPBACK,
        _temp_dir=folder,
    )


def n_nodes() -> int:
    """How many machines the cluster has now."""
    import ray

    nodes: list[dict[str, object]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own lack
    return sum(bool(node["Alive"]) for node in nodes)


def on_a_worker(work: Callable[[], T], settings: RaySettings) -> T:
    """Have something done where an actor would be, with an actor's resources.

    Raises
    ------
    UnderstudyError
        As ``work`` raised it there.
    ClusterError
        It could not be done there.
    """
    import ray

    task: Any = ray.remote(num_cpus=settings.actor_cpus, num_gpus=settings.num_gpus, max_retries=2)(_call)
    try:
        return cast("T", ray.get(task.remote(work)))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UnderstudyError):
            raise error.cause from None
        raise ClusterError(f"a worker cannot be set up: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise ClusterError(f"a worker cannot be set up: {error}") from error


def _call(work: Callable[[], T]) -> T:
    return work()
