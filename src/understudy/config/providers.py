"""On which execution providers a job's networks really run, and whether that is what was asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from understudy.config.schema import Runtime
from understudy.errors import ConfigError
from understudy.pipeline import Pipeline
from understudy.runtime.onnx import Session, available_providers, full_names

PARTS = {
    "detector": "detector",
    "residual": "residual",
    "generator": "generator",
    "guard": "guard",
    "attributes": "policy",
    "body_residual": "body_residual",
    "body_guard": "body_guard",
}
"""Parts of the pipeline that may hold networks: what configs call them, and what the pipeline does."""


def told_together(found: Mapping[str, str]) -> str:
    """What networks run on, in a sentence: parts that run on the same are named together."""
    names: dict[str, list[str]] = {}
    for name, what in found.items():
        names.setdefault(what, []).append(name)
    return "; ".join(f"{', '.join(those)}: {what}" for what, those in names.items())


def providers_in_use(pipeline: Pipeline) -> dict[str, str]:
    """What the networks of each part of the pipeline really run on, by the part's name."""
    found: dict[str, str] = {}
    for name, part in _parts(pipeline).items():
        said = set()
        for inner in _reachable(part, set()):
            if isinstance(inner, Session):
                said.add(f"onnxruntime, {inner.provider_report}")
            elif hasattr(inner, "device"):
                said.add(f"torch on {inner.device}")
        if said:
            found[name] = "; ".join(sorted(said))
    return found


def require_installed(runtime: Runtime) -> None:
    """Check, before any network is opened, that this onnxruntime has the provider that is wanted most.

    Raises
    ------
    ConfigError
        It does not know it; or it has not got it, and ``runtime.fallback`` does not allow to go on without.
    """
    wanted, here = full_names(runtime.providers)[0], available_providers()
    if wanted in here or runtime.fallback:
        return
    raise ConfigError(
        f"runtime.providers=[{','.join(runtime.providers)}]: the onnxruntime that is installed has no {wanted}; "
        f"available here: {', '.join(here)}. Choose one of these, install an onnxruntime that has it (for CUDA, "
        "understudy[gpu] in place of onnxruntime), or say runtime.fallback=true to go on with the CPU"
    )


def require_device(device: str) -> None:
    """Check that torch, where it is installed, can use a device; onnxruntime's networks have providers instead.

    Raises
    ------
    ConfigError
        It cannot.
    """
    if device == "cpu" or find_spec("torch") is None:
        return
    torch = importlib.import_module("torch")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: this torch was built without CUDA
        why = str(error).partition("\n")[0].partition(". ")[0]
        raise ConfigError(
            f"runtime.device={device}: torch cannot use it here ({why}); runtime.device=cpu works"
        ) from error


def require_providers(parts: Pipeline | Mapping[str, object], *, fallback: bool) -> list[str]:
    """Check that every network runs on the provider that was asked for first.

    Returns
    -------
    list of str
        Warnings, one for each way in which parts fell back, with their names, where ``fallback`` allows that.

    Raises
    ------
    ConfigError
        A network fell back and ``fallback`` does not allow it.
    """
    names: dict[str, list[str]] = {}
    for name, part in _parts(parts).items():
        for report in sorted({str(i.provider_report) for i in _sessions(part) if i.provider_report.fell_back}):
            names.setdefault(report, []).append(name)
    warnings = [f"{', '.join(those)}: {report}" for report, those in names.items()]
    if warnings and not fallback:
        raise ConfigError(
            f"{warnings[0]}; available here: {', '.join(available_providers())}. Choose one with "
            "runtime.providers=[...], or say runtime.fallback=true to go on all the same"
        )
    return warnings


def _parts(parts: Pipeline | Mapping[str, object]) -> dict[str, object]:
    if isinstance(parts, Mapping):
        return dict(parts)
    return {name: getattr(parts, attribute) for name, attribute in PARTS.items()}


def _sessions(part: object) -> Iterator[Session]:
    return (inner for inner in _reachable(part, set()) if isinstance(inner, Session))


def _reachable(part: object, seen: set[int]) -> Iterator[object]:
    """The objects of understudy that a part holds, itself included."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, Mapping):
        for value in part.values():
            yield from _reachable(value, seen)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _reachable(value, seen)
    elif type(part).__module__.startswith("understudy."):
        yield part
        for value in vars(part).values() if hasattr(part, "__dict__") else ():
            yield from _reachable(value, seen)
