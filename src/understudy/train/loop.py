"""The training loop that autoencoder and denoiser share: resumable step for step."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.errors import InvalidInputError
from understudy.train.checkpoint import append_losses, load_checkpoint, save_checkpoint, trim_losses
from understudy.train.ema import MovingAverage

_LOG = logging.getLogger(__name__)

Losses = Callable[[nn.Module, int, torch.Generator], Mapping[str, Tensor]]
"""Network, number of samples and random numbers to losses by name; "loss" is the one that is minimised."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a training learns."""

    n_steps: int
    batch_size: int = 32
    learning_rate: float = 4e-4
    n_warmup_steps: int = 100
    final_share: float = 0.02
    """Learning rate at the end over that at the peak; cosine in between."""
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    ema_decay: float = 0.999
    n_seconds: float | None = None
    """Where given, progress is the larger of the share of steps and the share of this time, so that the rate has come
    down when the time is up. Such a run does not repeat exactly."""

    def rate_at(self, progress: float, step: int) -> float:
        """Learning rate at a progress in [0, 1] and a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(self.n_warmup_steps, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.learning_rate * warm * (self.final_share + (1 - self.final_share) * cosine)


class _Team:
    """Workers that share a network's weights and add up their gradients."""

    def __init__(self, network: nn.Module, losses: Losses, batch_size: int, n_workers: int, seed: int) -> None:
        if n_workers < 1 or batch_size % n_workers:
            raise InvalidInputError(f"n_workers must divide the batch of {batch_size}, got {n_workers}")
        self.networks = [network]
        for _ in range(n_workers - 1):
            twin = copy.deepcopy(network)
            for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
                theirs.data = ours.data
            self.networks.append(twin)
        self.losses, self.n_samples, self.seed = losses, batch_size // n_workers, seed
        self.pool = (
            ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) if n_workers > 1 else None
        )

    def gradients(self, step: int) -> dict[str, float]:
        """Leave the mean gradient of a step's batch in the network; the mean losses by name."""
        n = len(self.networks)
        parts = [self._work(0, step)] if self.pool is None else list(self.pool.map(self._work, range(n), [step] * n))
        ours = [p.grad for p in self.networks[0].parameters() if p.grad is not None]
        for twin in self.networks[1:]:
            torch._foreach_add_(ours, tuple(p.grad for p in twin.parameters() if p.grad is not None))
            twin.zero_grad(set_to_none=True)
        if n > 1:
            torch._foreach_div_(ours, n)
        return {name: sum(part[name] for part in parts) / n for name in parts[0]}

    def _work(self, worker: int, step: int) -> dict[str, float]:
        random = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 64 + worker)
        values = self.losses(self.networks[worker], self.n_samples, random)
        values["loss"].backward()  # type: ignore[no-untyped-call]
        return {name: float(value.detach()) for name, value in values.items()}


def _states(network: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage) -> dict[str, object]:
    return {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict(),
    }


def fit(
    network: nn.Module,
    losses: Losses,
    schedule: Schedule,
    folder: Path,
    *,
    seed: int,
    settings: Mapping[str, object],
    n_workers: int = 1,
    save_every: int = 500,
    log_every: int = 50,
    on_save: Callable[[int, MovingAverage], None] | None = None,
) -> MovingAverage:
    """Minimise a loss with AdamW; go on from the folder's checkpoint where there is one.

    Random numbers of a step depend on the seed and the step alone, so that a resumed run takes the same steps.

    Parameters
    ----------
    n_workers : int
        Threads that each take an equal part of a batch through a copy of the network that shares its weights. On a CPU
        that others use too, two workers of one thread are faster than operators of two threads, which wait for
        each other at every operator.

    Returns
    -------
    MovingAverage
        Average of the parameters; ``network`` holds the last ones.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    average = MovingAverage(network, schedule.ema_decay)
    first, spent = 0, 0.0
    state = load_checkpoint(folder, settings)
    if state is not None:
        network.load_state_dict(state["network"])  # type: ignore[arg-type]
        optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        average.load_state_dict(state["average"])  # type: ignore[arg-type]
        first, spent = int(state["step"]), float(state["seconds"])  # type: ignore[call-overload,arg-type]
        trim_losses(folder, first)
    team = _Team(network, losses, schedule.batch_size, n_workers, seed)
    started, progress = time.monotonic() - spent, 0.0
    sums: dict[str, float] = {}
    step = first
    while step < schedule.n_steps and progress < 1:
        seconds = time.monotonic() - started
        progress = max(step / schedule.n_steps, seconds / schedule.n_seconds if schedule.n_seconds else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(progress, step)
        optimizer.zero_grad(set_to_none=True)
        values = team.gradients(step)
        nn.utils.clip_grad_norm_(network.parameters(), schedule.gradient_norm)
        optimizer.step()
        step += 1
        average.update(network, step)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
        if step % log_every == 0:
            means = {name: value / log_every for name, value in sums.items()}
            sums = {}
            append_losses(folder, step, step * schedule.batch_size, {**means, "seconds": time.monotonic() - started})
            _LOG.info("step %d of %d: %s", step, schedule.n_steps, means)
        if step % save_every == 0 or step == schedule.n_steps or progress >= 1:
            kept = {"step": step, "seconds": time.monotonic() - started, "settings": dict(settings)}
            save_checkpoint(folder, {**_states(network, optimizer, average), **kept})
            if on_save is not None:
                on_save(step, average)
    return average
