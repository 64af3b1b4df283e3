"""Judge the embedded face generator and write its section of docs/benchmarks.md: ``make bench-generator``.

    python scripts/bench_generator.py [--portraits DIR] [--renders DIR] [--work DIR] [--model NAME_OR_FOLDER]

Every picture is anonymised by ``understudy anonymize`` with the guard and the residual scan off, once as the default
policy has it and once with attributes=nothing; fills count as failures. Portraits (one face each, with ratings.csv) are
split by the order of their numbers: the even half is for choosing, the odd half is reported. Renders (pictures in a
folder, not trained on) are all reported. Faces are those that MTCNN at 0.9 and dlib's detector both find in the source.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from generator_faces import anonymized, read_collection
from generator_figures import (
    attribute_lines,
    detection_lines,
    diversity_lines,
    readout_lines,
    reidentification_lines,
)
from generator_sheet import write_sheet
from generator_speed import speed_lines

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "benchmarks.md"
SHARED = ROOT.parent / "shared"
LATENT = "generator.model={model}"
VARIANTS = {
    "default": [LATENT],
    "nothing": [LATENT, "attributes=nothing"],
    "erased": ["generator=fill"],  # what an attacker sees of the context alone
    "null": ["generator=null_edit"],  # what the readings' own error is
}


def halves(folder: Path) -> dict[str, list[Path]]:
    """Portraits by the parity of their place in the order of their numbers: even to choose, odd to report."""
    pictures = sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem))
    return {"even": pictures[0::2], "odd": pictures[1::2]}


def judge(title: str, pictures: list[Path], work: Path, model: str, ratings: Path | None) -> list[str]:
    """The lines of one collection."""
    made = {
        name: anonymized(pictures, work / name, [o.format(model=model) for o in overrides])
        for name, overrides in VARIANTS.items()
    }
    before = read_collection(pictures)
    both = {name: read_collection(paths, like=before) for name, paths in made.items()}
    lines = [f"### {title}: {len(pictures)} pictures, {int(before.both.sum())} faces found by both detectors", ""]
    lines += detection_lines(before, both["default"])
    lines += reidentification_lines(before, both)
    lines += diversity_lines(before, both["default"])
    lines += attribute_lines(before, both["default"], both["null"])
    if ratings is not None:
        lines += readout_lines(before, ratings)
    write_sheet(before, both["default"], work / "sheet.png")
    return [*lines, ""]


def replace_section(text: str, lines: list[str]) -> str:
    """The report with this section in the place of its old text, or at its end."""
    start, end = "<!-- generator -->", "<!-- /generator -->"
    body = "\n".join([start, *lines, end])
    if start in text:
        head, rest = text.split(start, 1)
        return head + body + rest.split(end, 1)[1]
    return text.rstrip() + "\n\n" + body + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, default=SHARED / "portraits")
    parser.add_argument("--renders", type=Path, help="a folder of renders that no weight was trained on")
    parser.add_argument("--half", choices=("odd", "even"), default="odd")
    parser.add_argument("--limit", type=int, default=0, help="at most so many pictures of each collection")
    parser.add_argument("--model", default="understudy-face-128")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench-generator")
    parser.add_argument("--dry", action="store_true", help="print the section only")
    args = parser.parse_args()
    cut = slice(args.limit or None)
    lines = [
        "## The embedded generator (`make bench-generator`)", "",
        (f"Model {Path(args.model).name}, guard and residual scan off, fills counted as failures; intervals: 95 %, "
        f"1,000 bootstrap draws over subjects, seed 0. Machine: {os.cpu_count()} cores, one thread."), "",
    ]  # fmt: skip
    if args.portraits.is_dir():
        pictures = halves(args.portraits)[args.half][cut]
        lines += judge(
            f"Portraits, {args.half} half", pictures, args.work / args.half, args.model, args.portraits / "ratings.csv"
        )
    if args.renders is not None:
        renders = sorted(p for p in args.renders.rglob("*") if p.suffix in {".png", ".jpg", ".webp"})[cut]
        lines += judge("Held-out renders", renders, args.work / "renders", args.model, None)
    lines += speed_lines(args.model)
    print("\n".join(lines))
    if not args.dry:
        REPORT.write_text(replace_section(REPORT.read_text(), lines))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    np.seterr(all="warn")
    main()
