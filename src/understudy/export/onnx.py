"""A model folder's networks as ONNX files, each with its contract, licence and origin inside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto

from understudy import __version__
from understudy.diffusion.body_model import is_body, load_body_config
from understudy.diffusion.networks import load_config
from understudy.diffusion.torch_networks import WEIGHTS, load_torch_parts
from understudy.errors import InvalidInputError
from understudy.export import graphs
from understudy.export.graph import OPSET
from understudy.export.graphs import GENERATOR, STEPWISE, Parts
from understudy.imaging.files import write_atomic

LICENCE = "Apache-2.0"
"""Licence of the weights that come with understudy."""

CONTRACTS = {
    "encoder": "pixels: RGB in [-1, 1], erased pixels as in understudy.types.ERASED -> latents: whitened",
    "denoiser": "noisy, context: latents; planes: mask, keypoints, categories; style: a vector of styles.npz; "
    "time: (0, 1], 1 is noise -> clean: estimate of the clean latents",
    "decoder": "latents -> pixels: RGB, about [-1, 1], not clipped",
    GENERATOR: "pixels: RGB in [-1, 1], erased; planes: mask, keypoints, categories; style: a vector of styles.npz; "
    "noise: standard normal times noise_scale of config.json -> understudy: RGB, about [-1, 1], not clipped",
}
"""What goes in and comes out of each graph, in words; shapes stand in the graph itself."""


def load_parts(folder: Path) -> Parts:
    """A model folder's networks on torch.

    Raises
    ------
    MissingWeightsError
        A safetensors file or the config is not there.
    """
    config = load_body_config(folder) if is_body(folder) else load_config(folder)
    autoencoder, unet = load_torch_parts(folder)
    return Parts(config, autoencoder, unet)


def origin(folder: Path, licence: str = LICENCE) -> dict[str, str]:
    """What every file of a model says of where it comes from: version, licence, digests of the source weights."""
    digests = {path.parent.name: _sha256(path.read_bytes()) for path in (folder / name for name in WEIGHTS)}
    return {
        "understudy": __version__,
        "model": folder.name,
        "licence": licence,
        "opset": str(OPSET),
        **{f"source_sha256.{name}": digest for name, digest in digests.items()},
    }


def build_graphs(
    parts: Parts, said: Mapping[str, str], names: Sequence[str] = tuple(STEPWISE)
) -> dict[str, ModelProto]:
    """The named graphs, in float32 arithmetic, checked by onnx.

    Parameters
    ----------
    parts : Parts
    said : mapping
        Metadata of all of them, as ``origin`` gives it.
    names : sequence of str
        Keys of ``CONTRACTS``.
    """
    unknown = sorted(set(names) - set(CONTRACTS))
    if unknown:
        raise InvalidInputError(f"no graph is called {unknown[0]!r}: choose from {', '.join(CONTRACTS)}")
    made = {}
    for name in names:
        metadata = {**said, "graph": name, "contract": CONTRACTS[name], "precision": "fp32"}
        if name == GENERATOR:
            n_steps = parts.config.n_steps
            made[name] = graphs.generator(parts, {**metadata, "n_steps": str(n_steps)}, n_steps)
        else:
            made[name] = STEPWISE[name](parts, metadata)
        onnx.checker.check_model(made[name], full_check=True)
    return made


def to_bytes(model: ModelProto) -> bytes:
    """A model as the bytes of its file, the same ones every time."""
    return bytes(model.SerializeToString(deterministic=True))


def export_onnx(folder: Path, licence: str = LICENCE) -> list[Path]:
    """Write onnx/encoder.onnx, denoiser.onnx and decoder.onnx of a model folder, from its safetensors.

    The graphs compute in float32 and take any batch size; weights that float16 holds exactly are stored as float16.

    Returns
    -------
    list of Path
    """
    paths = []
    for name, model in build_graphs(load_parts(folder), origin(folder, licence)).items():
        path = folder / "onnx" / f"{name}.onnx"
        write_atomic(path, to_bytes(model))
        paths.append(path)
    return paths


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
