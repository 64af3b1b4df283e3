"""Put the networks of a bundle in the place of those of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.config.parts import TARGET
from understudy.config.schema import Anonymize, Runtime
from understudy.errors import ConfigError
from understudy.export.bundle import Bundle, read_bundle

PLACES = {
    "understudy.config.embedded.latent_diffusion": ("model", "generator"),
    "understudy.detect.centerface.CenterFace": ("weights", "detector"),
    "understudy.embed.dlib_onnx.DlibOnnxEmbedder": ("network", "embedder"),
    "understudy.attributes.policy.AttributePolicy": ("probe", "probe"),
}
"""By target: the argument that names the weights, and the bundle's role that takes its place."""
NODES = ("detector", "residual", "generator", "guard", "attributes")


def with_bundle_everywhere(settings: Anonymize) -> Anonymize:
    """The settings of the main job with every network of the bundle in its place; as they are without a bundle.

    Raises
    ------
    ConfigError, MissingWeightsError, WeightsDigestError
        The bundle is damaged, incomplete, or lacks the generator in the wanted precision.
    """
    if settings.runtime.bundle is None:
        return settings
    bundle = read_bundle(Path(settings.runtime.bundle))
    nodes: dict[str, Any] = {key: _placed(getattr(settings, key), bundle, settings.runtime.precision) for key in NODES}
    return replace(settings, **nodes)


def with_bundle(node: Any, runtime: Runtime) -> Any:
    """One node with the networks of the bundle in their places."""
    return node if runtime.bundle is None else _placed(node, read_bundle(Path(runtime.bundle)), runtime.precision)


def _placed(node: Any, bundle: Bundle, precision: str) -> Any:
    if isinstance(node, list):
        return [_placed(entry, bundle, precision) for entry in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: _placed(value, bundle, precision) for key, value in node.items()}
    if str(node.get(TARGET)) not in PLACES:
        return made
    argument, role = PLACES[str(node[TARGET])]
    file = bundle.file(role, precision)
    if file is None or _is_own(made.get(argument)):
        return made
    if role == "generator":
        offered = sorted({f.precision for f in bundle.files if f.role == role})
        if precision not in offered:
            raise ConfigError(f"the bundle {str(bundle.folder)!r} has no {precision} generator: it has {offered}")
        return {**made, argument: str(bundle.folder.absolute())}
    return {**made, argument: str((bundle.folder / file.path).absolute())}


def _is_own(value: object) -> bool:
    """Whether the user names a file or folder of their own."""
    return isinstance(value, str) and Path(value).exists()
