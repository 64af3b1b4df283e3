"""What exported graphs are compared with: torch for our own networks, onnx's reference evaluator for converted ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from understudy.diffusion.sampler import sample
from understudy.export.graphs import GENERATOR, Parts
from understudy.export.onnx import to_bytes
from understudy.export.parity import Run

Feed = Mapping[str, NDArray[Any]]


def run_onnx(model: ModelProto, n_threads: int = 1) -> Run:
    """A graph on onnxruntime's CPU provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    return lambda feed: list(session.run(None, dict(feed)))


def run_by_definition(model: ModelProto) -> Run:
    """A graph on onnx's own evaluator, in numpy: slow, and independent of onnxruntime."""
    evaluator = ReferenceEvaluator(model)
    return lambda feed: [np.asarray(value) for value in evaluator.run(None, dict(feed))]


def run_torch(parts: Parts, name: str) -> Run:
    """The network behind one of our graphs, on torch and through diffusers' own code."""
    runs = {"encoder": _encode, "denoiser": _denoise, "decoder": _decode, GENERATOR: _generate}
    network = runs[name]

    @torch.inference_mode()
    def run(feed: Feed) -> list[NDArray[Any]]:
        inputs = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in feed.items()}
        return [network(parts, inputs).numpy()]

    return run


def _encode(parts: Parts, given: Mapping[str, Tensor]) -> Tensor:
    latents: Tensor = parts.autoencoder.encode(given["pixels"])
    return latents


def _decode(parts: Parts, given: Mapping[str, Tensor]) -> Tensor:
    pixels: Tensor = parts.autoencoder.decode(given["latents"])
    return pixels


def _denoise(parts: Parts, given: Mapping[str, Tensor]) -> Tensor:
    x = torch.cat([given["noisy"], given["context"], given["planes"]], dim=1)
    clean: Tensor = parts.unet(x, given["time"] * 1000, class_labels=given["style"]).sample
    return clean + given["context"] if parts.config.residual else clean


def _generate(parts: Parts, given: Mapping[str, Tensor]) -> Tensor:
    context = _encode(parts, given)

    def denoise(x: NDArray[np.float32], time: float) -> NDArray[np.float32]:
        times = torch.full((len(x),), time)
        clean: NDArray[np.float32] = _denoise(
            parts, {**given, "noisy": torch.from_numpy(x), "context": context, "time": times}
        ).numpy()
        return clean

    latents = sample(denoise, given["noise"].numpy(), parts.config.n_steps, parts.config.shift)
    return _decode(parts, {"latents": torch.from_numpy(latents)})
