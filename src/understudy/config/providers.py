"""On which execution providers a job's networks really run, and whether that is what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from understudy.errors import ConfigError
from understudy.pipeline import Pipeline
from understudy.runtime.onnx import Session, available_providers

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


def require_providers(parts: Pipeline | Mapping[str, object], *, fallback: bool) -> list[str]:
    """Check that every network runs on the provider that was asked for first.

    Returns
    -------
    list of str
        Warnings, one for each part that fell back, where ``fallback`` allows that.

    Raises
    ------
    ConfigError
        A network fell back and ``fallback`` does not allow it.
    """
    warnings = []
    for name, part in _parts(parts).items():
        for report in sorted({str(i.provider_report) for i in _sessions(part) if i.provider_report.fell_back}):
            if not fallback:
                raise ConfigError(
                    f"{name}: {report}; available here: {', '.join(available_providers())}. Choose one with "
                    "runtime.providers=[...], or say runtime.fallback=true to go on all the same"
                )
            warnings.append(f"{name}: {report}")
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
