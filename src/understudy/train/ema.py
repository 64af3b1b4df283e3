"""Exponential moving average of a network's parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps average = decay * average + (1 - decay) * parameters, with a decay that warms up."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the parameters after a step, counted from 1; decay is min(decay, (1 + step) / (10 + step))."""
        decay = min(self.decay, (1 + step) / (10 + step))
        ours, theirs = list(self.average.values()), [p.detach() for p in network.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    def copy_to(self, network: nn.Module) -> None:
        """Overwrite a network's parameters with the average."""
        network.load_state_dict(self.average, strict=False)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self.average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take averages as ``state_dict`` gave them."""
        for name, value in state.items():
            self.average[name].copy_(value)
