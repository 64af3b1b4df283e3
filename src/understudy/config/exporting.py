"""Hand the settings of ``export`` to the functions that build, convert, compare and write."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.config.conditions import conditions_in, drawn_conditions
from understudy.config.embedded import model_folder
from understudy.config.export_parts import converted_networks, detector_for
from understudy.config.schema import Export
from understudy.config.training import needs_torch
from understudy.diffusion.networks import CONFIG, REFERENCES, STYLES, Networks, load_config
from understudy.errors import ConfigError
from understudy.generate.latent import ONNX_PARTS, PRECISIONS, LatentDiffusionGenerator, onnx_path
from understudy.imaging.files import write_atomic
from understudy.types import Condition

if TYPE_CHECKING:
    from onnx import ModelProto

    from understudy.export.bundle import BundleFile
    from understudy.export.parity import Parity

Say = Callable[[str], None]
_TORCH = "understudy.diffusion.torch_networks"


@dataclass(frozen=True)
class ExportReport:
    """What an export came to."""

    folder: Path
    files: tuple[BundleFile, ...]
    understudies: Mapping[str, Parity]
    """Against torch for fp32, against fp32 for the others."""


class _Recorder:
    """Networks that keep what they are given."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self.feeds: dict[str, list[dict[str, NDArray[np.float32]]]] = {name: [] for name in ONNX_PARTS}

    def encode(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures to latents."""
        self.feeds["encoder"].append({"pixels": pixels})
        return self._networks.encode(pixels)

    def denoise(
        self,
        noisy: NDArray[np.float32],
        context: NDArray[np.float32],
        planes: NDArray[np.float32],
        style: NDArray[np.float32],
        time: float,
    ) -> NDArray[np.float32]:
        """Estimate of the clean latents at a time."""
        times = np.full(len(noisy), time, np.float32)
        given = {"noisy": noisy, "context": context, "planes": planes, "style": style, "time": times}
        self.feeds["denoiser"].append(given)
        return self._networks.denoise(noisy, context, planes, style, time)

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents to pictures."""
        self.feeds["decoder"].append({"latents": latents})
        return self._networks.decode(latents)


def run_export(settings: Export, say: Say = lambda _: None) -> ExportReport:
    """Export a model, and with ``output`` a bundle of everything that the main job runs.

    Raises
    ------
    ConfigError
        A setting is wrong, or onnxruntime and torch differ by more than ``max_difference``; nothing is written.
    OutputError
        ``output`` cannot be written or holds something already.
    MissingWeightsError
        Weights that are exported are not on this machine.
    """
    _check(settings)
    bundle, onnx_files = (needs_torch(f"understudy.export.{name}") for name in ("bundle", "onnx"))
    source = model_folder(settings.model)
    if settings.output is not None:
        bundle.require_empty(Path(settings.output))
    conditions = _conditions(settings, source)
    say(f"{len(conditions)} calibration crops ({settings.calibration or 'drawn'})")
    parts = onnx_files.load_parts(source)
    said = onnx_files.origin(source, settings.licence)
    contents, files = _export_generator(settings, source, parts, said, conditions, say)
    measured = _tried(settings, source, contents, conditions)
    if settings.output is None:
        for path, data in contents.items():
            write_atomic(source / path, data)
        return ExportReport(source, tuple(files), measured)
    for network in converted_networks(settings.parts, settings.calibration, settings.n_calibration):
        for made in needs_torch("understudy.export.convert").versions(network, settings.precisions, {}):
            path = onnx_path(network.name, made.precision).replace("onnx/", f"{network.role}/", 1)
            contents[path] = onnx_files.to_bytes(made.model)
            files.append(_described(path, contents[path], network.role, made.model, made.parity))
            say(_line(files[-1]))
    _write(settings, source, contents, files, measured, len(conditions))
    return ExportReport(Path(settings.output), tuple(files), measured)


def _check(settings: Export) -> None:
    unknown = sorted(set(settings.precisions) - set(PRECISIONS))
    if unknown or "fp32" not in settings.precisions:
        raise ConfigError(f"precisions must hold fp32 and may hold fp16 and int8, got {settings.precisions}")
    for key in ("n_parity", "n_calibration"):
        if getattr(settings, key) < 1:
            raise ConfigError(f"{key} must be 1 or more, got {getattr(settings, key)}")


def _conditions(settings: Export, source: Path) -> list[Condition]:
    """True crops of the calibration folder, or drawn ones."""
    config = load_config(source)
    if settings.calibration is None:
        return drawn_conditions(settings.n_calibration, config.condition_size)
    return conditions_in(
        Path(settings.calibration),
        detector_for("centerface"),
        AttributePolicy(),
        n=settings.n_calibration,
        crop_size=config.condition_size,
        min_face_px=LatentDiffusionGenerator.min_face_px,
    )


def _export_generator(
    settings: Export, source: Path, parts: Any, said: Mapping[str, str], conditions: Sequence[Condition], say: Say
) -> tuple[dict[str, bytes], list[BundleFile]]:
    """Bytes of every graph of the generator by its path, and what is said of each."""
    onnx_files, quantize, parity, reference = (
        needs_torch(f"understudy.export.{name}") for name in ("onnx", "quantize", "parity", "reference")
    )
    names = [*ONNX_PARTS, *(["generator"] if settings.one_graph else [])]
    graphs = onnx_files.build_graphs(parts, said, names)
    feeds = _recorded(source, conditions) if set(settings.precisions) - {"fp32"} else {}
    contents: dict[str, bytes] = {}
    files: list[BundleFile] = []
    for name, model in graphs.items():
        shapes = {item.name: parts.inputs[item.name] for item in model.graph.input}
        trial = parity.random_feeds(shapes)
        run = reference.run_onnx(model)
        measured = {"fp32": parity.compare_graphs(run, reference.run_torch(parts, name), trial, "torch")}
        made = {"fp32": model}
        for precision in settings.precisions:
            if precision == "fp32" or (name == "generator" and precision == "int8"):
                continue
            true = feeds.get(name) or trial
            made[precision] = quantize.to_fp16(model) if precision == "fp16" else quantize.to_int8(
                model, true[: len(true) * 3 // 4] or true, reduce_range=settings.reduce_range
            )  # fmt: skip
            rest = parity.stack_feeds(true[len(true) * 3 // 4 :] or true, parity.BATCHES)
            other = reference.run_onnx(made[precision])
            measured[precision] = parity.compare_graphs(other, run, rest, "float32")
        for precision, version_ in made.items():
            path = onnx_path(name, precision)
            contents[path] = onnx_files.to_bytes(version_)
            files.append(_described(path, contents[path], "generator", version_, measured[precision]))
            say(_line(files[-1]))
    return contents, files


def _recorded(source: Path, conditions: Sequence[Condition]) -> dict[str, list[dict[str, NDArray[np.float32]]]]:
    """What each network is given when these crops are made, on torch."""
    generator = LatentDiffusionGenerator(source, "torch")
    recorder = _Recorder(generator.networks)
    generator.networks = recorder
    for seed, condition in enumerate(conditions):
        generator([condition], [seed])
    return recorder.feeds


def _described(path: str, data: bytes, role: str, model: ModelProto, measured: Any) -> BundleFile:
    """The bundle's entry of a graph, from the graph's own metadata."""
    bundle, graph = (needs_torch(f"understudy.export.{name}") for name in ("bundle", "graph"))
    said = graph.get_metadata(model)
    prefix = "source_sha256."
    entry: BundleFile = bundle.BundleFile(
        path=path,
        role=role,
        precision=said["precision"],
        sha256=bundle.sha256(data),
        n_bytes=len(data),
        licence=said["licence"],
        source_sha256={key.removeprefix(prefix): value for key, value in said.items() if key.startswith(prefix)},
        contract=said["contract"],
        parity=None if measured is None else asdict(measured),
        note=f"opset {said['opset']}",
    )
    return entry


def _line(file: BundleFile) -> str:
    parity = file.parity or {}
    mean, most, scale = (float(parity[key]) for key in ("mean_difference", "max_difference", "largest_output"))
    size = file.n_bytes / 1e6
    return f"{file.path}: {size:.2f} MB; from {parity['against']} by {mean:.2g}, {most:.2g} at most, of {scale:.2g}"


def _tried(
    settings: Export, source: Path, contents: Mapping[str, bytes], conditions: Sequence[Condition]
) -> dict[str, Parity]:
    """Whole understudies with the finished files, in a folder of their own beside the source's weights."""
    with tempfile.TemporaryDirectory() as name:
        trial = Path(name) / source.name
        for path, data in contents.items():
            (trial / path).parent.mkdir(parents=True, exist_ok=True)
            (trial / path).write_bytes(data)
        for path in (CONFIG, STYLES, REFERENCES, *(str(Path(w).parent) for w in needs_torch(_TORCH).WEIGHTS)):
            if path != REFERENCES or (source / path).exists():
                (trial / path).symlink_to((source / path).absolute())
        return _understudies(settings, trial, conditions)


def _write(
    settings: Export,
    source: Path,
    contents: dict[str, bytes],
    files: list[BundleFile],
    measured: Mapping[str, Parity],
    n: int,
) -> None:
    """Write the bundle."""
    bundle = needs_torch("understudy.export.bundle")
    for name in (CONFIG, STYLES, REFERENCES, "card.md"):
        if (source / name).is_file():
            contents[name] = (source / name).read_bytes()
            digest, n_bytes = bundle.sha256(contents[name]), len(contents[name])
            files.append(bundle.BundleFile(name, "settings", "", digest, n_bytes, settings.licence))
    made_with: dict[str, object] = {name: version(name) for name in ("onnx", "onnxruntime", "torch", "diffusers")}
    pictures = None if settings.calibration is None else Path(settings.calibration).name
    made_with |= {"model": source.name, "calibration": pictures, "n_calibration": n}
    rows = {precision: _finite(asdict(parity)) for precision, parity in measured.items()}
    bundle.write_bundle(Path(str(settings.output)), contents, files, rows, made_with)


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    """Plain JSON knows no infinity."""
    return {key: value if np.isfinite(value) else None for key, value in row.items()}


def _understudies(settings: Export, folder: Path, conditions: Sequence[Condition]) -> dict[str, Parity]:
    """Whole understudies: onnxruntime against torch, and the other precisions against float32.

    Raises
    ------
    ConfigError
        onnxruntime and torch differ by more than ``max_difference``.
    """
    parity = needs_torch("understudy.export.parity")
    some = list(conditions)[-settings.n_parity :]
    seeds = list(range(1000, 1000 + len(some)))
    whole = LatentDiffusionGenerator(folder)
    measured = {"fp32": parity.compare(whole, LatentDiffusionGenerator(folder, "torch"), some, seeds)}
    for precision in PRECISIONS:
        if precision != "fp32" and precision in settings.precisions:
            other = LatentDiffusionGenerator(folder, precision=precision)
            measured[precision] = parity.compare(other, whole, some, seeds)
    if measured["fp32"].max_difference > settings.max_difference:
        raise ConfigError(
            f"onnxruntime and torch differ by up to {measured['fp32'].max_difference} grey levels on "
            f"{measured['fp32'].n_crops} crops, more than max_difference={settings.max_difference}: nothing is written"
        )
    return measured
