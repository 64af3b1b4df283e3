"""Export a model folder's networks to ONNX, with weights stored as float16."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from diffusers import UNet2DModel
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from understudy.diffusion.autoencoder import PatchAutoencoder
from understudy.diffusion.networks import load_config
from understudy.diffusion.torch_networks import load_torch_parts

OPSET = 17
MIN_HALF_SIZE = 256
"""Weights with fewer values than this stay float32."""


class _Encoder(nn.Module):
    def __init__(self, model: PatchAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode(pixels)


class _Decoder(nn.Module):
    def __init__(self, model: PatchAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents)


class _Denoiser(nn.Module):
    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, noisy: Tensor, context: Tensor, planes: Tensor, style: Tensor, time: Tensor) -> Tensor:
        x = torch.cat([noisy, context, planes], dim=1)
        clean: Tensor = self.unet(x, time * 1000, class_labels=style).sample
        return clean


def export_onnx(folder: Path) -> list[Path]:
    """Export the safetensors of a model folder to onnx/encoder.onnx, denoiser.onnx and decoder.onnx.

    The graphs compute in float32 and take any batch size; weights are stored as float16 and cast when they are loaded.

    Returns
    -------
    list of Path
        The files, each checked by onnx.
    """
    config = load_config(folder)
    autoencoder, unet = load_torch_parts(folder)
    c, n = config.latent_channels, config.size
    latents = torch.zeros(2, c, n, n)
    planes = torch.zeros(2, int(unet.config["in_channels"]) - 2 * c, n, n)
    style = torch.zeros(2, 4 * int(unet.config["block_out_channels"][0]))
    pixels = torch.zeros(2, 3, n * config.cell_px, n * config.cell_px)
    parts: tuple[tuple[str, nn.Module, dict[str, Tensor], str], ...] = (
        ("encoder", _Encoder(autoencoder), {"pixels": pixels}, "latents"),
        (
            "denoiser",
            _Denoiser(unet),
            {"noisy": latents, "context": latents, "planes": planes, "style": style, "time": torch.zeros(2)},
            "clean",
        ),
        ("decoder", _Decoder(autoencoder), {"latents": latents}, "pixels"),
    )
    (folder / "onnx").mkdir(exist_ok=True)
    paths = []
    for name, network, inputs, output in parts:
        path = folder / "onnx" / f"{name}.onnx"
        _export(network.eval(), inputs, output, path)
        halve_weights(path)
        onnx.checker.check_model(str(path), full_check=True)
        paths.append(path)
    return paths


def _export(network: nn.Module, inputs: dict[str, Tensor], output: str, path: Path) -> None:
    names = list(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own plans and of constants in the trace
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(path),
            input_names=names,
            output_names=[output],
            dynamic_axes={name: {0: "batch"} for name in (*names, output)},
            opset_version=OPSET,
            dynamo=False,
        )


def halve_weights(path: Path) -> None:
    """Store a graph's large float32 weights as float16, each with a Cast that the runtime folds when it loads."""
    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < MIN_HALF_SIZE:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(path))
