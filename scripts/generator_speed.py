"""Milliseconds a face of the embedded generator and the size of its weights; for bench_generator.py."""

from __future__ import annotations

import time
from importlib.util import find_spec
from statistics import median

from understudy.config.conditions import drawn_conditions
from understudy.config.embedded import model_folder
from understudy.generate.latent import LatentDiffusionGenerator

N_ROUNDS = 5


def speed_lines(model: str) -> list[str]:
    """Both runtimes, one condition and sixteen in a call, turn by turn; and the bytes of the weights."""
    folder = model_folder(model)
    runtimes = ["onnx", "torch"] if find_spec("torch") else ["onnx"]
    generators = {name: LatentDiffusionGenerator(folder, name) for name in runtimes}  # type: ignore[arg-type]
    conditions = drawn_conditions(16, generators["onnx"].crop_size)
    spent: dict[tuple[str, int], list[float]] = {(name, n): [] for name in runtimes for n in (1, 16)}
    for round_number in range(N_ROUNDS + 1):
        for (name, n), times in spent.items():
            started = time.perf_counter()
            generators[name](conditions[:n], list(range(n)))
            if round_number:  # the first one warms up
                times.append(1000 * (time.perf_counter() - started) / n)
    lines = ["| milliseconds a face, one thread, median (least to most) of 5 | batch 1 | batch 16 |", "|---|---|---|"]
    for name in runtimes:
        cells = [f"{median(t):.0f} ({min(t):.0f} to {max(t):.0f})" for t in (spent[name, 1], spent[name, 16])]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    safetensors = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    whole = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return [
        *lines,
        "",
        f"Weights: safetensors {safetensors / 1e6:.1f} MB, whole folder {whole / 1e6:.1f} MB (goal 60).",
        "",
    ]
