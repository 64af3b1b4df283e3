"""The hub's generator configs with random weights: real classes of diffusers, saved and loaded again."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

HUB = (
    "sd15_inpaint",
    "sdxl_inpaint",
    "flux_fill",
    "sd15_inpaint_openpose",
    "sdxl_inpaint_openpose",
    "sd15_inpaint_lcm",
    "sdxl_inpaint_lcm",
    "flux_fill_turbo",
)
"""Every config of the hub."""
PIPELINES = {
    "sd15_inpaint": "StableDiffusionInpaintPipeline",
    "sdxl_inpaint": "StableDiffusionXLInpaintPipeline",
    "flux_fill": "FluxFillPipeline",
    "sd15_inpaint_openpose": "StableDiffusionControlNetInpaintPipeline",
    "sdxl_inpaint_openpose": "StableDiffusionXLControlNetInpaintPipeline",
    "sd15_inpaint_lcm": "StableDiffusionInpaintPipeline",
    "sdxl_inpaint_lcm": "StableDiffusionXLInpaintPipeline",
    "flux_fill_turbo": "FluxFillPipeline",
}
"""The class of diffusers that each of them runs."""


def small_hub(name: str, folder: Path) -> dict[str, object]:
    """Changes to a hub config's settings; skips where a package is lacking, and says which."""
    tiny = pytest.importorskip("tests.tiny_inpaint")
    is_lora = name.endswith(("lcm", "turbo"))
    if is_lora and find_spec("peft") is None:
        pytest.skip("peft is not installed: pip install 'understudy[hub]'")
    makers: dict[str, Callable[[Path], Path]] = {
        "sd15": tiny.make_tiny_inpaint,
        "sdxl": tiny.make_tiny_inpaint_xl,
        "flux": tiny.make_tiny_flux_fill,
    }
    family = name.split("_", maxsplit=1)[0]
    model = makers[family](folder / "pipeline")
    changes: dict[str, object] = {"model": str(model), "n_steps": 1, "crop_size": 32, "device": "cpu"}
    if "openpose" in name:
        changes["controlnet"] = str(tiny.make_tiny_controlnet(folder, xl=family == "sdxl"))
    if is_lora:
        changes["lora"] = str(tiny.make_tiny_lora(folder / "lora", model))
    return changes
