"""Measure a bundle: what precision and steps cost and keep. Writes the ``export`` section of docs/benchmarks.md.

    python scripts/bench_export.py BUNDLE PICTURES [N]

BUNDLE is what ``understudy export`` wrote, PICTURES a folder of portraits (looked at only: nothing is fitted on them).
Milliseconds are medians of CPU time of one thread, turn by turn in one run; only their ratios mean something on a busy
machine. Whole understudies are made in each precision with the same seeds, and judged by dlib's embedder (distance to
the original), CenterFace (face found, keypoints) and MTCNN (face found).
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

from understudy.attributes.policy import AttributePolicy
from understudy.config.conditions import PICTURES, condition_of, readable
from understudy.detect.centerface import CenterFace
from understudy.detect.mtcnn import Mtcnn
from understudy.embed.dlib_onnx import DlibOnnxEmbedder
from understudy.errors import UnderstudyError
from understudy.export.parity import psnr_db
from understudy.generate.latent import LatentDiffusionGenerator

REPORT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
FACE_PX = 48
HEAD = (
    "| understudies | ms a step | ms to decode | ms a face | fp32 / this | PSNR, dB: median (least) "
    "| distance to the original: mean (0.6 or more) | CenterFace finds | MTCNN finds | keypoint error / eye distance |"
)


def faces(folder: Path, n: int, size: int) -> list[tuple]:
    """(condition, embedding of the original, its keypoints in the crop) of n portraits."""
    detector, policy, embedder = CenterFace(), AttributePolicy(), DlibOnnxEmbedder()
    found = []
    for source in readable(sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)):
        condition = condition_of(source, detector, policy, size, FACE_PX)
        if condition is not None:
            seen = detector(source.view)
            best = int((seen.xyxy[:, 2:] - seen.xyxy[:, :2]).min(axis=1).argmax())
            embedding = embedder.embed(source.view, seen.keypoints[best], seen.visibility[best])
            found.append((condition, embedding))
        if len(found) == n:
            break
    return found


def judge(made: list[np.ndarray], known: list[tuple]) -> dict[str, float]:
    """Identity distance, faces found and keypoint error of finished crops."""
    centre, mtcnn, embedder = CenterFace(), Mtcnn(min_face_px=20), DlibOnnxEmbedder()
    distances, errors, n_centre, n_mtcnn = [], [], 0, 0
    for crop, (condition, original) in zip(made, known, strict=True):
        found = centre(crop)
        n_mtcnn += bool((mtcnn(crop).confidence >= 0.9).any())
        if len(found) == 0:
            continue
        n_centre += 1
        points = found.keypoints[0]
        between = float(np.linalg.norm(condition.keypoints[0] - condition.keypoints[1]))
        errors.append(float(np.linalg.norm(points - condition.keypoints, axis=1).mean()) / max(between, 1))
        distances.append(float(np.linalg.norm(embedder.embed(crop, points, found.visibility[0]) - original)))
    return {
        "distance": float(np.mean(distances)),
        "over": float(np.mean(np.array(distances) >= 0.6)),
        "centre": n_centre,
        "mtcnn": n_mtcnn,
        "keypoints": float(np.mean(errors)),
    }


def step_times(generators: dict[str, LatentDiffusionGenerator], condition: object) -> dict[str, dict[str, float]]:
    """Milliseconds of a step, of decoding and of a whole understudy, turn by turn."""
    given = next(iter(generators.values())).prepare(condition, 0)
    spent: dict[str, dict[str, list[float]]] = {name: {"step": [], "decode": [], "face": []} for name in generators}
    for _ in range(9):
        for name, generator in generators.items():
            nets, noise = generator.networks, given["noise"]
            context = nets.encode(given["pixels"])
            calls = {
                "step": lambda: nets.denoise(noise, context, given["planes"], given["style"], 0.5),  # noqa: B023
                "decode": lambda: nets.decode(noise),  # noqa: B023
                "face": lambda: generator([condition], [0]),  # noqa: B023
            }
            for what, call in calls.items():
                start = time.process_time()
                call()
                spent[name][what].append(1000 * (time.process_time() - start))
    return {name: {what: median(values) for what, values in rows.items()} for name, rows in spent.items()}


def main() -> None:
    bundle, pictures = Path(sys.argv[1]), Path(sys.argv[2])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    generators = {}
    for precision in ("fp32", "fp16", "int8"):
        try:
            generators[precision] = LatentDiffusionGenerator(bundle, precision=precision)
        except UnderstudyError as error:
            print(error)
    whole = generators["fp32"]
    for precision in ("fp32", "int8"):
        if precision in generators and whole.n_steps > 4:
            generators[f"{precision}, 4 steps"] = LatentDiffusionGenerator(bundle, n_steps=4, precision=precision)
    known = faces(pictures, n, whole.crop_size)
    made = {name: [g([c], [seed])[0].pixels for seed, (c, _) in enumerate(known)] for name, g in generators.items()}
    times = step_times(generators, known[0][0])
    intro = (
        f"Made by `python scripts/bench_export.py`: {len(known)} portraits (one face each, for looking only), the same "
        f"seeds in every row, no guard; {whole.n_steps} steps unless said. PSNR is that of the pixels under the masks "
        f"against fp32 with {whole.n_steps} steps, data range 255. Milliseconds are medians of CPU time of one thread, "
        f"turn by turn in one run on a busy machine: trust the ratios. {_machine()}"
    )
    lines = [
        intro,
        "",
        HEAD,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, crops in made.items():
        found = judge(crops, known)
        ratios = [
            psnr_db((a.astype(float) - b)[c.replace_mask])
            for a, b, (c, _) in zip(crops, made["fp32"], known, strict=True)
        ]
        fidelity = "-" if name == "fp32" else f"{np.median(ratios):.1f} ({min(ratios):.1f})"
        t, ratio = times[name], times["fp32"]["face"] / times[name]["face"]
        lines.append(
            f"| {name} | {t['step']:.1f} | {t['decode']:.1f} | {t['face']:.0f} | {ratio:.2f} "
            f"| {fidelity} | {found['distance']:.3f} ({found['over']:.0%}) | {found['centre']} of {len(known)} "
            f"| {found['mtcnn']} of {len(known)} | {found['keypoints']:.3f} |"
        )
    lines += ["", *graph_table(bundle)]
    write("\n".join(lines))
    print("\n".join(lines))


def graph_table(bundle: Path) -> list[str]:
    """The parity table out of bundle.json."""
    row = json.loads((bundle / "bundle.json").read_text())
    lines = ["| graph | MB | against | inputs | largest difference | mean difference | largest output |"]
    lines.append("|---|---|---|---|---|---|---|")
    for file in row["files"]:
        p = file["parity"]
        if p is not None:
            lines.append(
                f"| {file['path']} | {file['n_bytes'] / 1e6:.2f} | {p['against']} | {p['n_runs']} "
                f"| {p['max_difference']:.2g} | {p['mean_difference']:.2g} | {p['largest_output']:.3g} |"
            )
    return lines


def _machine() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    flags = Path("/proc/cpuinfo").read_text()
    vnni = "with" if "vnni" in flags else "without"
    return f"{names[0] if names else platform.processor()} {vnni} VNNI, onnxruntime {onnxruntime.__version__}."


def write(text: str) -> None:
    """Replace the section of docs/benchmarks.md, or append it."""
    start, end = "<!-- export:begin -->", "<!-- export:end -->"
    report = REPORT.read_text()
    section = f"{start}\n{text}\n{end}"
    if start in report:
        before, rest = report.split(start, 1)
        report = before + section + rest.split(end, 1)[1]
    else:
        report = f"{report.rstrip()}\n\n## Precision\n\n{section}\n"
    REPORT.write_text(report)


if __name__ == "__main__":
    main()
