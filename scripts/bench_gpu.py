"""Faces and bodies a second on a GPU beside the CPU, whether results agree, and how busy the GPU is on 1080p groups.

    python scripts/bench_gpu.py [--device cuda] [--batches 1 8 32] [--write]

Generators run on conditions that are drawn (random squares around a mask), the CPU and the GPU turn by turn; results of
both are compared pixel by pixel. Groups of 1920x1080 (``UNDERSTUDY_BENCH_PHOTOS``) then go through ``understudy
anonymize`` with everything on the GPU, while ``nvidia-smi`` tells five times a second how busy it is and how much of
its memory is in use. Without a GPU its cells read "unmeasured". ``--write`` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np
from bench import groups_1080p

from understudy.config.conditions import drawn_conditions
from understudy.config.embedded import model_folder
from understudy.generate.base import Generator
from understudy.generate.body_latent import BodyLatent
from understudy.generate.latent import LatentDiffusionGenerator
from understudy.types import Condition, Crop, Kind

REPORT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
START, END = "<!-- gpu -->", "<!-- /gpu -->"
UNMEASURED = "unmeasured"
N_ROUNDS = 5
MAX_DIFFERENCE = 2
"""Grey levels by which a GPU may differ from the CPU, the tolerance between two runtimes too."""


def generators(kind: str, device: str) -> Generator:
    """The embedded generator of faces or of bodies, on torch."""
    if kind == "faces":
        return LatentDiffusionGenerator(model_folder("understudy-face-128"), "torch", device=device)
    return BodyLatent(model_folder("understudy-body-256x128"), "torch", device=device)


def body_conditions(n: int, width: int, height: int) -> list[Condition]:
    """Upright ovals among random squares, without keypoints."""
    made = []
    for square in drawn_conditions(n, max(width, height)):
        pixels = np.ascontiguousarray(square.context[:height, :width])
        ys, xs = np.mgrid[0:height, 0:width]
        mask = ((xs - width / 2) / (0.3 * width)) ** 2 + ((ys - height / 2) / (0.42 * height)) ** 2 <= 1
        made.append(Condition(Crop(pixels, mask, np.eye(2, 3)), attributes=square.attributes, kind=Kind.BODY))
    return made


def conditions_for(kind: str, generator: Generator, n: int) -> list[Condition]:
    """What a generator is given."""
    if kind == "faces":
        return drawn_conditions(n, generator.crop_size)
    return body_conditions(n, generator.crop_size, getattr(generator, "crop_height", generator.crop_size))


def rates(made: dict[str, Generator], conditions: Sequence[Condition], batches: Sequence[int]) -> dict[str, list[str]]:
    """Results a second of each device at each batch size, turn by turn: median, least and most."""
    spent: dict[tuple[str, int], list[float]] = {(device, n): [] for device in made for n in batches}
    for round_number in range(N_ROUNDS + 1):
        for (device, n), values in spent.items():
            started = time.perf_counter()
            made[device](conditions[:n], list(range(n)))
            if round_number:  # the first one warms up
                values.append(n / (time.perf_counter() - started))
    return {
        device: [f"{median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for v in (spent[device, n] for n in batches)]
        for device in made
    }


def largest_difference(made: dict[str, Generator], conditions: Sequence[Condition]) -> str:
    """Grey levels between the two devices' pixels."""
    first, second = ([m.pixels.astype(int) for m in g(conditions, list(range(len(conditions))))] for g in made.values())
    most = max(int(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))
    return f"{most} ({'within' if most <= MAX_DIFFERENCE else 'over'} {MAX_DIFFERENCE})"


def generator_lines(device: str | None, batches: Sequence[int]) -> list[str]:
    """The table of both generators."""
    lines = [
        f"| results a second on torch | {' | '.join(f'batch {n}' for n in batches)} | grey levels off the CPU |",
        f"|---|{'---|' * (len(batches) + 1)}",
    ]
    for kind in ("faces", "bodies"):
        made = {name: generators(kind, name) for name in ("cpu", *([device] if device else []))}
        conditions = conditions_for(kind, made["cpu"], max(batches))
        found = rates(made, conditions, batches)
        lines.append(f"| {kind}, CPU | {' | '.join(found['cpu'])} | |")
        cells = [*found[device], largest_difference(made, conditions)] if device else [UNMEASURED] * (len(batches) + 1)
        lines.append(f"| {kind}, GPU | {' | '.join(cells)} |")
    return [*lines, ""]


def watched(work: Callable[[], None]) -> tuple[float, float, float]:
    """Seconds, mean share of time that the GPU is busy, and most of its memory in use, MiB."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stdout=log, text=True) as watcher:
        started = time.perf_counter()
        try:
            work()
        finally:
            seconds = time.perf_counter() - started
            watcher.terminate()
            watcher.wait()
        log.seek(0)
        rows = [[float(v) for v in line.split(",")] for line in log.read().splitlines() if line.count(",") == 1]
    return seconds, mean(row[0] for row in rows) / 100, max(row[1] for row in rows)


def group_lines(device: str | None, n: int) -> list[str]:
    """Groups of 1920x1080 through the whole main job."""
    lines = [
        "| 1080p groups, everything on the GPU | pictures a second | GPU busy (goal 80 %) | memory |",
        "|---|---|---|---|",
    ]
    if device is None:
        return [*lines, f"| {n} pictures | {' | '.join([UNMEASURED] * 3)} |", ""]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        source.mkdir()
        groups_1080p(source, n)
        given = ["runtime=torch", f"runtime.device={device}", "runtime.providers=[cuda]", "runner.micro_batch=32"]
        command = ["understudy", "anonymize", f"input={source}", f"output={out}", *given]
        seconds, busy, memory = watched(lambda: subprocess.run(command, check=True) and None)
    return [*lines, f"| {n} pictures | {n / seconds:.2f} | {100 * busy:.0f} % | {memory:.0f} MiB |", ""]


def gpu(device: str) -> str | None:
    """The device where torch has it, else None."""
    import torch

    return device if device.startswith("cuda") and torch.cuda.is_available() else None


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--pictures", type=int, default=64, help="groups of 1080p")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    device = gpu(args.device)
    body = "\n".join(
        [START, "## On a GPU (`python scripts/bench_gpu.py`)", "",
         *generator_lines(device, args.batches), *group_lines(device, args.pictures), END]
    )  # fmt: skip
    print(body)
    if args.write:
        text = REPORT.read_text()
        if START in text:
            head, rest = text.split(START, 1)
            REPORT.write_text(head + body + rest.split(END, 1)[1])
        else:
            REPORT.write_text(text.rstrip() + "\n\n" + body + "\n")


if __name__ == "__main__":
    main()
