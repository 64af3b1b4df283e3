"""What choosing among N understudies does to drift; writes its section of docs/benchmarks.md.

    python scripts/bench_candidates.py [--portraits DIR] [--half even] [--limit 40] [--most 8] [--dry]

Of each portrait (one face each), as many understudies are made as the largest N says, in the order in which the main
job tries its seeds, guard on, residual scan off. For each N the one that `n_candidates=N` would keep is picked by the
policy's own probe, and read by the audit's estimators, which the policy does not use, in the crop in which it was made
and at the source's keypoints; the original is read in the same crop. People are those whose original was read and of
whom an understudy was accepted at every N.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from understudy.audit.estimators_readouts import ReadoutEstimator
from understudy.config.build import job_from_overrides
from understudy.geometry import cut_crop

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "benchmarks.md"
SHARED = ROOT.parent / "shared"
ATTEMPTS = 3
"""The main job's own n_attempts, for a face of which none of the N is accepted."""
CODES = ("age_group", "expression", "perceived_gender_expression")
NUMBERS = ("perceived_age", "perceived_femininity", "smile")
N_BOOT = 1000
CLOSING = (
    "What the policy's probe sees of a mismatch falls with N, as it must; whether other estimators see less drift is "
    "for the last column to say. The default is one candidate."
)


@dataclass
class Person:
    """One portrait: what its original reads, and every accepted understudy by attempt."""

    original: dict[str, float] = field(default_factory=dict)
    made: dict[int, tuple[float, dict[str, float]]] = field(default_factory=dict)

    def chosen(self, n: int) -> tuple[float, dict[str, float]] | None:
        """What n_candidates=n keeps: mismatch and independent readings; None where it is filled."""
        among = [self.made[i] for i in sorted(self.made) if i < n]
        if among:
            return min(among, key=lambda one: one[0]) if n > 1 else among[0]
        later = [self.made[i] for i in sorted(self.made) if i < max(ATTEMPTS, n)]
        return later[0] if later else None


class Recorder:
    """Stands between the pipeline and its policy and generator, and writes down what they do."""

    def __init__(self, pipeline: object, estimator: ReadoutEstimator) -> None:
        self.estimator, self.person, self.source = estimator, Person(), None
        self.attempt, self.box = -1, np.zeros(4)
        self._mismatch, self._generate = pipeline.policy.mismatch, pipeline.generator
        pipeline.policy.mismatch = self.mismatch
        kind = type(pipeline.generator)
        inner = kind.__call__

        def counted(generator, conditions, seeds):  # type: ignore[no-untyped-def]
            self.attempt += 1
            return inner(generator, conditions, seeds)

        kind.__call__ = counted

    def begin(self, source: object, box: np.ndarray) -> None:
        self.person, self.source, self.attempt, self.box = Person(), source, -1, box

    def mismatch(self, wanted, view, xyxy, keypoints, visibility):  # type: ignore[no-untyped-def]
        value = self._mismatch(wanted, view, xyxy, keypoints, visibility)
        if not self.person.original:
            scale = float((self.box[2] - self.box[0]) / (xyxy[2] - xyxy[0]))
            affine = np.array([[scale, 0, self.box[0] - scale * xyxy[0]], [0, scale, self.box[1] - scale * xyxy[1]]])
            whole = self.source.view
            nothing = np.zeros(whole.shape[:2], bool)
            before = cut_crop(whole, nothing, affine, view.shape[0]).pixels
            self.person.original = self.read(before, xyxy, keypoints, visibility)
        self.person.made[self.attempt] = (value, self.read(view, xyxy, keypoints, visibility))
        return value

    def read(self, view, xyxy, keypoints, visibility) -> dict[str, float]:  # type: ignore[no-untyped-def]
        readings = self.estimator.read([view], xyxy[None], keypoints[None], visibility[None])
        return {r.name: float(r.values[0]) for r in readings}


def people_of(pictures: list[Path], most: int) -> list[Person]:
    """Every portrait on which one face was found and read."""
    overrides = [f"n_candidates={most}", "residual=none"]
    job = job_from_overrides(overrides)
    recorder = Recorder(job.pipeline, ReadoutEstimator())
    people = []
    for i, path in enumerate(pictures):
        source = job.decode(path.read_bytes(), path.name)
        (found,) = job.detect([source])
        if len(found) != 1:
            continue
        recorder.begin(source, found.xyxy[0].astype(float))
        job.replace([source], [found])
        people.append(recorder.person)
        print(f"{i + 1} of {len(pictures)}: {path.name}: {len(recorder.person.made)} accepted", flush=True)
    return [p for p in people if p.original and np.isfinite(p.original["perceived_age"]) and p.chosen(1)]


def table(people: list[Person], counts: list[int]) -> list[str]:
    """One row an attribute, one column an N, and the paired difference between the last and the first."""
    random = np.random.default_rng(0)
    draws = random.integers(0, len(people), (N_BOOT, len(people)))
    lines = [
        "| | " + " | ".join(f"N = {n}" for n in counts) + f" | N = {counts[-1]} less N = {counts[0]} |",
        "|---" * (len(counts) + 2) + "|",
    ]

    def row(label: str, values: np.ndarray, digits: int) -> None:
        cells = [interval(values[:, j], draws, digits) for j in range(len(counts))]
        lines.append(
            f"| {label} | " + " | ".join([*cells, interval(values[:, -1] - values[:, 0], draws, digits)]) + " |"
        )

    chosen = [[p.chosen(n) for n in counts] for p in people]
    row("mismatch by the policy's probe", np.array([[c[0] for c in cs] for cs in chosen]), 2)
    for name in CODES:
        changed = np.array([[c[1][name] != p.original[name] for c in cs] for p, cs in zip(people, chosen, strict=True)])
        row(f"{name} changed, share", changed.astype(float), 2)
    for name in NUMBERS:
        drift = np.array([[c[1][name] - p.original[name] for c in cs] for p, cs in zip(people, chosen, strict=True)])
        digits = 1 if name == "perceived_age" else 3
        row(f"{name}, drift", drift, digits)
        row(f"{name}, mean absolute change", np.abs(drift), digits)
    return lines


def interval(values: np.ndarray, draws: np.ndarray, digits: int) -> str:
    """Mean with the percentile interval of a bootstrap over people."""
    means = values[draws].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def replace_section(text: str, lines: list[str]) -> str:
    """The report with this section in the place of its old text, or at its end."""
    start, end = "<!-- candidates -->", "<!-- /candidates -->"
    body = "\n".join([start, *lines, end])
    if start in text:
        head, rest = text.split(start, 1)
        return head + body + rest.split(end, 1)[1]
    return text.rstrip() + "\n\n" + body + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, default=SHARED / "portraits")
    parser.add_argument("--half", choices=("odd", "even"), default="even")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--dry", action="store_true", help="print the section only")
    args = parser.parse_args()
    listed = sorted(args.portraits.glob("*.jpg"), key=lambda path: int(path.stem))
    pictures = listed[args.half == "odd" :: 2][: args.limit or None]
    counts = [n for n in (1, 2, 4, 8, 16) if n <= args.most]
    people = people_of(pictures, args.most)
    told = (
        f"The first {len(pictures)} portraits of the {args.half} half, {len(people)} people read; estimators other "
        "than the policy's (`readouts`); drift is understudy less original; intervals: 95 %, 1,000 bootstrap draws "
        f"over people. By the choice at most log2(N) bits about a person can travel. Machine: {os.cpu_count()} cores."
    )
    lines = [
        "## Choosing among candidates (`scripts/bench_candidates.py`)",
        "",
        told,
        "",
        *table(people, counts),
        "",
        CLOSING,
    ]
    print("\n".join(lines))
    if not args.dry:
        REPORT.write_text(replace_section(REPORT.read_text(encoding="utf-8"), lines), encoding="utf-8")


if __name__ == "__main__":
    main()
