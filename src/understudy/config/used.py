"""Which parts of a config a run uses: what it does not use is neither loaded, nor needed, nor written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from understudy.config.parts import TARGET, find_target
from understudy.config.schema import Anonymize

OF_FACES = ("detector", "residual", "guard")
"""Parts that look at faces."""
OF_BODIES = ("people", "body_generator", "body_guard", "body_residual")
"""Parts that look at bodies, or draw them."""


def obscures(node: Mapping[str, object]) -> bool:
    """Whether a generator's node names a baseline that obscures; nothing is built for it."""
    return node.get(TARGET) is not None and hasattr(find_target(node[TARGET], "generator"), "obscure")


def unused_parts(settings: Anonymize) -> frozenset[str]:
    """Keys of the parts that a run with these settings never calls.

    Of ``target=face`` those of bodies; of ``target=body`` those of faces, and the generator, unless it obscures: then
    it does so with bodies too, and the bodies' own generator is not used.
    """
    target = settings.target
    if target == "face":
        return frozenset(OF_BODIES)
    unused = set(OF_FACES) if target == "body" else set()
    if obscures(settings.generator):
        unused.add("body_generator")
    elif target == "body":
        unused.add("generator")
    return frozenset(unused)


def used_settings(settings: Anonymize) -> dict[str, Any]:
    """The settings as plain data, without the parts that are not used."""
    unused = unused_parts(settings)
    return {key: value for key, value in asdict(settings).items() if key not in unused}
