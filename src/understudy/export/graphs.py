"""The graphs of a model: encoder, one denoiser step, decoder, and the whole generator in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import ModelProto

from understudy.diffusion.body_model import BodyConfig
from understudy.diffusion.networks import ModelConfig
from understudy.diffusion.schedule import sampling_times
from understudy.export import blocks
from understudy.export.graph import Graph


@dataclass(frozen=True)
class Parts:
    """A model on torch: what the graphs are made of."""

    config: ModelConfig | BodyConfig
    autoencoder: Any
    unet: Any

    @property
    def n_planes(self) -> int:
        """Planes of the condition."""
        return int(self.unet.config["in_channels"]) - 2 * self.config.latent_channels

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of every value that goes in or out, by its name, without the batch."""
        config = self.config
        height, width = blocks.sides(config.size)
        latents = (config.latent_channels, height, width)
        return {
            "pixels": (3, height * config.cell_px, width * config.cell_px),
            "latents": latents,
            "noisy": latents,
            "noise": latents,
            "context": latents,
            "clean": latents,
            "planes": (self.n_planes, height, width),
            "style": (blocks.embedding_size(self.unet),),
            "time": (),
        }

    def model(
        self, graph: Graph, inputs: Sequence[str], result: str, output: str, metadata: Mapping[str, str]
    ) -> ModelProto:
        """A finished graph whose inputs and output have the shapes of their names."""
        shapes = self.inputs
        shape = shapes["pixels" if output == "understudy" else output]
        return graph.model({name: shapes[name] for name in inputs}, result, (output, shape), metadata)


def encoder(parts: Parts, metadata: Mapping[str, str]) -> ModelProto:
    """Pictures (pixels) in [-1, 1] to latents."""
    graph = Graph()
    return parts.model(graph, ["pixels"], _encode(graph, parts), "latents", metadata)


def _encode(graph: Graph, parts: Parts) -> str:
    layer = parts.autoencoder.encoder
    return blocks.convolve(graph, layer, "pixels", edge=True)


def decoder(parts: Parts, metadata: Mapping[str, str]) -> ModelProto:
    """Latents to pictures (pixels), about [-1, 1]."""
    graph = Graph()
    result = blocks.decode(graph, parts.autoencoder, "latents", parts.config.size)
    return parts.model(graph, ["latents"], result, "pixels", metadata)


def denoiser(parts: Parts, metadata: Mapping[str, str]) -> ModelProto:
    """One step: noisy latents, context latents, planes, style and time in (0, 1] to clean latents."""
    graph = Graph()
    embedded = graph.node("Add", blocks.embed_time(graph, parts.unet, "time"), "style")
    told = blocks.modulation(graph, parts.unet, embedded)
    joint = graph.node("Concat", "noisy", "context", "planes", axis=1)
    first = blocks.convolve(graph, parts.unet.conv_in, joint, edge=True)
    result = blocks.denoise(graph, parts.unet, first, parts.config.size, told)
    result = graph.node("Add", result, "context") if parts.config.residual else result
    return parts.model(graph, ["noisy", "context", "planes", "style", "time"], result, "clean", metadata)


def generator(parts: Parts, metadata: Mapping[str, str], n_steps: int) -> ModelProto:
    """The whole generator with a fixed number of steps: pixels, planes, style and noise to the understudy.

    What does not change from step to step is worked out once: the context's share of the first convolution, and gains
    and offsets of all steps in one product.
    """
    graph, unet, size = Graph(), parts.unet, parts.config.size
    times = sampling_times(n_steps, parts.config.shift)
    features = blocks.time_features(unet, [float(t) for t in times[:-1]])  # (S, D)
    rows = graph.node("Add", graph.reshape("style", 1, -1, features.shape[1]), graph.constant(features[:, None]))
    told = blocks.modulation(graph, unet, graph.reshape(rows, -1, features.shape[1]))  # rows: step by step
    by_step = list(zip(*(_per_step(graph, pair, n_steps) for pair in told), strict=True))
    weight = blocks.values_of(unet.conv_in.weight)
    c = parts.config.latent_channels
    context = _encode(graph, parts)
    known = graph.node("Concat", context, "planes", axis=1)
    bias = blocks.values_of(unet.conv_in.bias)
    fixed = blocks.convolve_with(graph, known, weight[:, c:], bias, 1, 1, edge=True)
    x = "noise"
    for (now, after), modulations in zip(pairwise(times), by_step, strict=True):
        own = blocks.convolve_with(graph, x, weight[:, :c], None, 1, 1, edge=True)
        first = graph.node("Add", own, fixed)
        clean = blocks.denoise(graph, unet, first, size, modulations)
        clean = graph.node("Add", clean, context) if parts.config.residual else clean
        x = _step(graph, x, clean, float(after / now))
    result = blocks.decode(graph, parts.autoencoder, x, size)
    return parts.model(graph, ["pixels", "planes", "style", "noise"], result, "understudy", metadata)


def _per_step(graph: Graph, pair: tuple[str, str], n_steps: int) -> list[tuple[str, str]]:
    """Gain and offset (S B, C, 1, 1) of one block, cut into steps of (B, C, 1, 1)."""
    columns = []
    for x in pair:
        rows = graph.nodes("Split", (x,), n_steps, axis=0) if n_steps > 1 else [x]
        columns.append(rows)
    return list(zip(*columns, strict=True))


def _step(graph: Graph, x: str, clean: str, ratio: float) -> str:
    """One Euler step, clean + ratio (x - clean); the last one ends at the clean latents."""
    if ratio == 0:
        return clean
    difference = graph.node("Sub", x, clean)
    return graph.node("Add", clean, graph.node("Mul", difference, graph.constant(np.array(ratio, np.float32))))


GENERATOR = "generator"
"""Name of the one graph that is the whole generator."""

Build = Callable[[Parts, Mapping[str, str]], ModelProto]

STEPWISE: dict[str, Build] = {"encoder": encoder, "denoiser": denoiser, "decoder": decoder}
"""The graphs between which the sampler's loop runs in numpy, by their file's name."""
