"""The runner for a Ray cluster: the stages are those of ``ray.data``, the ledger has one writer, the driver.

Inputs are listed here and sent out in passes of ``window`` pictures. In each pass tasks read and decode, a pool of
actors that hold the networks detects and replaces, tasks encode and write, and the rows come back here, where they are
committed as they come; Ray Data holds the one back that runs ahead of the others. A row is committed after its file is
there, as with the local runner, so that whatever dies, at most what was under way is made again, to the same bytes.
A block whose worker died is tried again by Ray; pictures that are still missing when a pass ends are sent out once
more, each alone, so that one that kills its worker takes no other with it and is quarantined.
"""

from __future__ import annotations

import logging
import queue
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import ray
import ray.data

from understudy.batch.carry import Errand, carry_out
from understudy.batch.containers import Cell
from understudy.batch.engine import Run
from understudy.batch.flow import Cost
from understudy.batch.folder import NameTakenError
from understudy.batch.items import Item
from understudy.batch.ledger import Status
from understudy.batch.ray_cluster import ClusterError, n_nodes
from understudy.batch.ray_settings import RaySettings
from understudy.batch.ray_stages import (
    Finished,
    ReplaceActor,
    Workers,
    decode_block,
    encode_block,
    pack,
    unpack,
)
from understudy.batch.stages import Picture
from understudy.batch.summary import RunSummary
from understudy.errors import OutputError, UnderstudyError

__all__ = ["run_ray"]

N_ALONE = 2
"""How often a picture whose worker died in company is sent out alone."""
MAX_OPEN = 8
"""Containers under way at one time: a pass is to be filled."""


def run_ray(workers: Workers, errand: Errand, settings: RaySettings) -> RunSummary:
    """Anonymise a collection on the cluster that this process is connected to (see ``ray_cluster.connected``).

    Parameters
    ----------
    workers : Workers
        What turns one file into another, there.
    errand : Errand
        What to do.
    settings : RaySettings

    Raises
    ------
    OutputError, StateMismatchError, RunInterruptedError
        As ``carry_out``.
    ClusterError
        The cluster failed as a whole.
    """
    return carry_out(partial(RayRun, workers, settings), errand, settings.limits(), max_open=MAX_OPEN)


class RayRun(Run):
    """A run whose stages are workers of a Ray cluster.

    Parameters
    ----------
    workers : Workers
    cluster : RaySettings
    arguments, more
        Those of ``Run``.
    """

    def __init__(self, workers: Workers, cluster: RaySettings, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.workers, self.cluster = workers, cluster
        self.admitted: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self._carries = n_nodes() > 1
        self.n_out = 0

    def _stages(self) -> Sequence[tuple[str, Callable[[], None], int]]:
        return (("cluster", self._work, 1),)

    def _let_in(self, picture: Picture) -> None:
        if self._carries and picture.file.staged:
            picture.file = _with_bytes(picture.file)  # members lie on a disk of this machine
        self.admitted.put(picture)

    def _close(self, *, drain: bool) -> None:
        """Nothing: the thread sees that the run stops."""

    def _cost(self, item: Item) -> Cost:
        return item.cost() if item.staged else Cost()

    def _depths(self) -> Mapping[str, int]:
        return {"pass": self.admitted.qsize(), "cluster": self.n_out}

    def _work(self) -> None:
        while (pictures := self._gathered()) is not None:
            self._pass(pictures)

    def _gathered(self) -> list[Picture] | None:
        """The pictures of the next pass; None when there will be no more."""
        found: list[Picture] = []
        waited_since = time.monotonic()
        while len(found) < self.cluster.window:
            if self.stopping or self.error is not None:
                return None
            try:
                found.append(self.admitted.get(timeout=0.05))
                waited_since = time.monotonic()
            except queue.Empty:
                if self.listed and self.admitted.empty():
                    break
                if found and time.monotonic() - waited_since > self.cluster.gather_s:
                    break
        return found or None

    def _pass(self, pictures: list[Picture]) -> None:
        """Send pictures out until each has come back, or was alone when its worker died."""
        out = dict(enumerate(pictures))
        for attempt in range(1 + N_ALONE):
            self.n_out = len(out)
            self._send(out, block=1 if attempt else self.cluster.block)
            if not out or self.stopping or self.error is not None:
                return
        for picture in out.values():
            picture.end(Status.QUARANTINED, f"the worker died each time ({1 + N_ALONE}) that it worked on this picture")
            self.finished.put(picture)

    def _send(self, out: dict[int, Picture], block: int) -> None:
        """One pass over the cluster; what comes back is taken out of ``out``."""
        try:
            with closing(self._stream(out, block)) as stream:
                for table in stream:
                    for k, finished in unpack(table):
                        if (picture := out.pop(k, None)) is not None:
                            self._come_back(picture, finished)
                    self.n_out = len(out)
                    if self.stopping or self.error is not None:
                        return
        except UnderstudyError:
            raise
        except Exception as error:  # Ray Data wraps its own in many ways
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ClusterError(
                f"the Ray cluster failed: {lines[-1][:300]}. What is finished stays; start the same command again"
            ) from error

    def _stream(self, out: Mapping[int, Picture], block: int) -> Generator[Any, None, None]:
        numbered = list(out.items())
        blocks = [pack(numbered[k : k + block]) for k in range(0, len(numbered), block)]
        with _data_context(self.cluster):
            data = self._stages_of(ray.data.from_arrow(blocks))
            yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)

    def _stages_of(self, data: Any) -> Any:
        """The data set with the three stages behind it."""
        chosen = self.cluster
        tables = {"batch_size": None, "batch_format": "pyarrow"}
        tasks: dict[str, Any] = {
            **tables,
            "num_cpus": chosen.task_cpus,
            "compute": ray.data.TaskPoolStrategy(size=chosen.max_tasks),
            "max_retries": chosen.n_retries,
        }
        reading = {"workers": self.workers, "n_fetchers": chosen.n_fetchers, "max_bytes": chosen.max_file_bytes}
        writing = {"workers": self.workers, "store": self.outputs.store, "folds": self.outputs.folds}
        decoded = data.map_batches(decode_block, fn_kwargs=reading, **tasks)
        replaced = decoded.map_batches(
            ReplaceActor,
            fn_constructor_args=(self.workers,),
            num_cpus=chosen.actor_cpus,
            num_gpus=chosen.num_gpus or None,
            compute=ray.data.ActorPoolStrategy(min_size=chosen.min_actors, max_size=chosen.max_actors),
            max_task_retries=chosen.n_retries,
            **tables,
        )
        return replaced.map_batches(encode_block, fn_kwargs=writing, **tasks)

    def _come_back(self, picture: Picture, finished: Finished) -> None:
        if finished.stop:
            raise OutputError(finished.stop)
        picture.done = finished.row
        if finished.data is not None and finished.row is not None:
            try:
                relative, _ = self.outputs.claim(picture.file.image_id, finished.suffix)
                self.outputs.write_for(picture.file, relative, finished.data)
            except NameTakenError as error:
                picture.row = replace(picture.row, digest=finished.row.digest)
                picture.end(Status.QUARANTINED, str(error))
        self.finished.put(picture)


def _with_bytes(item: Item) -> Item:
    """A member of a container with its bytes, for a machine that cannot see the container."""
    try:
        data = item.read(lambda _size, _stamp: None)
    except OSError:
        return item
    version = item.version()
    return Cell(item.image_id, item.where, data, version[1] if version else 0, item.staged)


@contextmanager
def _data_context(settings: RaySettings) -> Iterator[None]:
    """Ray Data's own settings for a pass: quiet, small blocks, and a block that fails does not end it."""
    context = ray.data.DataContext.get_current()
    chosen = {
        "target_max_block_size": settings.block_mb << 20,
        "max_errored_blocks": -1,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
    }
    before = {name: getattr(context, name) for name in chosen}
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        for name, value in chosen.items():
            setattr(context, name, value)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"ray\.data\.")
            # there is no other way to limit how often a task is tried; it is without limit else
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)
