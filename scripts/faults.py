"""Try the main job on everything that goes wrong in a collection, and write what happened into docs/benchmarks.md.

``python scripts/faults.py`` makes its own pictures, runs ``understudy anonymize`` on each fault in a process of its own
(forked from this one after the imports, which saves their time), and checks after each run that nothing was lost:
every input has a row, sources are untouched, what was written can be decoded and is whole, nobody's face is as it was,
no temporary file is left, and pictures without a fault come out as the same bytes as in a run without any. It ends
with 1 where a check fails. Mounting (full disk, read-only disk) needs root; where that is refused, the row says so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
sys.path[:0] = [str(Path(__file__).parents[1] / "src"), str(Path(__file__).parent)]

import fault_pictures as pictures  # noqa: E402
import fault_runs  # noqa: E402
import numpy as np  # noqa: E402
from fault_trial import (  # noqa: E402
    OPTIONS,
    Trial,
    check_pictures,
    check_rows,
    digests,
    faces_found,
    notes,
    seen,
)

from understudy.batch.sources import printable  # noqa: E402
from understudy.batch.tables import read_table  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs/benchmarks.md"
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"

Check = Callable[[Trial], None]


@dataclass(frozen=True)
class Fault:
    """A row of the table: how the collection is made, what should become of it, and what else to look at."""

    name: str
    make: Callable[[Path], None]
    expected: Mapping[str, str]
    code: int
    check: Check | None = None


def _quiet_links(folder: Path) -> None:
    pictures.save(folder / "a" / "good0.jpg", pictures.jpeg(quality=80, dpi=(72, 72)))
    (folder / "a" / "up").symlink_to("..")
    (folder / "self").symlink_to("self")
    outside = folder.parent / "private"
    pictures.save(outside / "private.jpg", pictures.jpeg())
    (folder / "out.jpg").symlink_to(outside / "private.jpg")
    (folder / "outs").symlink_to(outside)


def _check_deep(trial: Trial) -> None:
    import cv2

    faces_found(trial, "deep.png", "deep.tif", "deep grey.png")
    for name in ("deep.png", "deep.tif", "deep grey.png"):
        before, after = (
            cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (trial.source, trial.output / "images")
        )
        trial.require(after.dtype == np.uint16, f"{name} has {after.dtype}")
        same = float((before == after).mean())
        trial.require(same > 0.5, f"{name}: only {same:.0%} of the values are exactly the source's")
        trial.facts.append(f"{name}: 16 bit, {same:.0%} of values bit-identical")


def _check_located(trial: Trial) -> None:
    from PIL import Image

    data = (trial.output / "images/located.jpg").read_bytes()
    faces_found(trial, "located.jpg")
    for secret in (b"SECRET", b"Exif\x00\x00", b"SEC\x00"):
        trial.require(secret not in data, f"{secret!r} is still in the file")
    trial.require(data.count(b"\xff\xd8\xff") == 1, "a second JPEG lies in the file")
    with Image.open(trial.output / "images/located.jpg") as image:
        trial.require(not dict(image.getexif()), "there is EXIF")
    trial.facts.append("no GPS, note, XMP of the source, comment or thumbnail in the file")


def _check_turned(trial: Trial) -> None:
    from PIL import Image

    names = [f"orientation{k}.jpg" for k in range(1, 9)]
    faces_found(trial, *names)
    boxes = {
        str(row["image_id"]): [float(str(row[key])) for key in ("x0", "y0", "x1", "y1")]
        for row in read_table(trial.output, "regions")
    }
    apart = max(float(np.abs(np.subtract(boxes[name], boxes[names[0]])).max()) for name in names)
    trial.require(apart < 12, f"the faces lie up to {apart:.0f} px apart")
    for name in names:
        with Image.open(trial.output / "images" / name) as image:
            trial.require(image.getexif().get(0x0112, 1) == 1, f"{name} still says that it is turned")
    trial.facts.append(f"all upright, boxes within {apart:.1f} px")


def _check_private(trial: Trial) -> None:
    trial.require(not any("private" in name for name in trial.written()), "a file outside was read")


def _check_faces(*names: str) -> Check:
    return lambda trial: faces_found(trial, *names)


def _beside(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A good picture beside the bad ones."""

    def made(folder: Path) -> None:
        pictures.good(folder)
        make(folder)

    return made


def _named(names: tuple[str, ...]) -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        for k, name in enumerate(names):
            pictures.save(folder / name, pictures.jpeg(quality=70 + k))

    return made


GOOD = {"good0.jpg": "done"}
LONG = ("l" * 251 + ".jpg", "/".join(["folder" * 40] * 4) + "/" + "m" * 251 + ".jpg", "\u65e5" * 83 + ".jpg")
FAULTS = (
    Fault("truncated JPEG and PNG", _beside(pictures.truncated), {**GOOD, "cut.jpg": "failed", "cut.png": "failed"}, 3),
    Fault(
        "zero bytes",
        _beside(lambda d: pictures.save(d / "empty.jpg", b"") and None),
        {**GOOD, "empty.jpg": "failed"},
        3,
    ),
    Fault(
        "text named .jpg",
        _beside(lambda d: pictures.save(d / "text.jpg", b"Dear diary, today ...\n") and None),
        {**GOOD, "text.jpg": "failed"},
        3,
    ),
    Fault(
        "files that are no media",
        _beside(lambda d: pictures.save(d / "notes.md", b"# Notes\n") and None),
        {**GOOD, "notes.md": "skipped"},
        0,
    ),
    Fault(
        "16 bits a channel",
        pictures.deep,
        {"deep.png": "done", "deep.tif": "done", "deep grey.png": "done"},
        0,
        _check_deep,
    ),
    Fault("CMYK", pictures.cmyk, {"cmyk.jpg": "done"}, 0, _check_faces("cmyk.jpg")),
    Fault(
        "palette (PNG, GIF)",
        pictures.palette,
        {"palette.png": "done", "palette.gif": "done"},
        0,
        _check_faces("palette.png", "palette.gif"),
    ),
    Fault(
        "EXIF orientation 1 to 8",
        pictures.orientations,
        {f"orientation{k}.jpg": "done" for k in range(1, 9)},
        0,
        _check_turned,
    ),
    Fault("GPS, maker's name, XMP, comment, thumbnail", pictures.located, {"located.jpg": "done"}, 0, _check_located),
    Fault("bomb of 40,000 x 40,000 px", _beside(pictures.bomb), {**GOOD, "bomb.png": "refused"}, 3),
    Fault(
        "animated GIF and WebP, damaged film",
        _beside(pictures.animated),
        {**GOOD, "moving.gif": "refused", "moving.webp": "refused", "film.mp4": "quarantined"},
        3,
    ),
    Fault("unicode names", _named(pictures.UNICODE_NAMES), dict.fromkeys(pictures.UNICODE_NAMES, "done"), 0),
    Fault("very long names (255 bytes, deep folders)", _named(LONG), dict.fromkeys(LONG, "done"), 0),
    Fault("twenty nasty names", _named(pictures.NASTY_NAMES), dict.fromkeys(pictures.NASTY_NAMES, "done"), 0),
    Fault(
        "1 x 1, 3 x 900 and 900 x 3 px",
        pictures.tiny,
        {f"{size}.{suffix}": "done" for size in ("1x1", "3x900", "900x3") for suffix in ("png", "jpg")},
        0,
    ),
    Fault(
        "links in circles, links out of the tree",
        _quiet_links,
        {"a/good0.jpg": "done", "a/up": "skipped", "self": "failed", "out.jpg": "skipped", "outs": "skipped"},
        3,
        _check_private,
    ),
)


def try_fault(fault: Fault, trial: Trial) -> tuple[str, int]:
    """Make the collection, run, check; what the user sees and the exit code."""
    fault.make(trial.source)
    before = digests(trial.source)
    ran = trial.run()
    trial.require(ran.code == fault.code, f"exit code {ran.code}, expected {fault.code}: {ran.text[-400:]}")
    trial.require("Traceback" not in ran.text, "the user sees a traceback")
    check_rows(trial, fault.expected)
    check_pictures(trial)
    if fault.check is not None:
        fault.check(trial)
    trial.require(digests(trial.source) == before, "a source was changed")
    trial.facts.append(f"peak {ran.peak_mb:.0f} MB")
    said = notes(trial)
    return seen(ran, trial.folder) + (f"<br>table: {said}" if said else ""), ran.code


def main() -> int:
    """Try everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name matches this expression; then nothing is written")
    parser.add_argument("--work", default=None, help="folder for the trials; a temporary one where left out")
    options = parser.parse_args()
    preload()
    work = Path(tempfile.mkdtemp(prefix="understudy-faults-", dir=options.work))
    n_bad = 0
    rows = []
    try:
        reference = fault_runs.make_reference(work / "reference")
        for fault in (*FAULTS, *fault_runs.RUNS):
            if not re.search(options.only, fault.name):
                continue
            trial = Trial(fault.name, work / re.sub(r"\W+", "-", fault.name), reference)
            trial.source.mkdir(parents=True)
            began = time.monotonic()
            text, code = try_fault(fault, trial) if isinstance(fault, Fault) else fault.run(trial)
            n_bad += bool(trial.problems)
            verdict = f"NO: {'; '.join(trial.problems)}" if trial.problems else f"yes ({'; '.join(trial.facts)})"
            rows.append(f"| {fault.name} | {escape(text)} | {code} | {escape(verdict)} |")
            print(f"{time.monotonic() - began:6.1f} s  {rows[-1]}", flush=True)
            shutil.rmtree(trial.folder, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not options.only:
        write_table(rows)
    print(f"{len(rows)} faults, {n_bad} with something lost or unexpected")
    return 1 if n_bad else 0


def preload() -> None:
    """Import once what every forked run needs."""
    import cv2  # noqa: F401
    import onnxruntime  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import understudy.cli.anonymize  # noqa: F401


def escape(text: str) -> str:
    """Text for a cell of a Markdown table."""
    plain = text.replace("|", "\\|").replace("`", "\\`").replace("*", "\\*").replace("_", "\\_").replace("<br>", "\0")
    return printable(plain.replace("<", "&lt;")).replace("\0", "<br>")


def write_table(rows: list[str]) -> None:
    """Put the table between its markers."""
    head = (
        "Made by `python scripts/faults.py`: each row is a collection with one fault (where that makes sense with good "
        f'pictures beside it), run with `understudy anonymize {" ".join(OPTIONS)}`. "Nothing lost" is checked by the '
        "script: every input has its row, sources are untouched, everything written can be decoded and is whole, no "
        "face is as it was, no temporary file is left, and good pictures give the bytes that they give in a run "
        "without faults. Peak memory includes Python and all libraries.\n\n"
        "| fault | what the user sees (shortened) | exit code | nothing lost |\n|---|---|---|---|\n"
    )
    block = f"{BEGIN}\n{head}" + "\n".join(rows) + f"\n{END}"
    text = DOCS.read_text() if DOCS.exists() else f"# Benchmarks\n\n## Faults\n\n{BEGIN}\n{END}\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Faults\n\n{BEGIN}\n{END}\n"
    first, _, rest = text.partition(BEGIN)
    DOCS.write_text(first + block + rest.partition(END)[2])


if __name__ == "__main__":
    sys.exit(main())
