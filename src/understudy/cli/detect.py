"""``understudy detect input=PATH output=FILE.jsonl``: who is found where, and nothing else."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import track

from understudy.batch.inputs import open_inputs
from understudy.batch.items import Item, shown_root
from understudy.batch.sources import printable
from understudy.cli.words import nothing_done
from understudy.config.build import build_detector, choose_keypoints
from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, one_target, read
from understudy.config.schema import Detect
from understudy.detect.base import Detector
from understudy.detect.boxes import Target, detection_line
from understudy.errors import NotMediaError, OutputError, UnderstudyError
from understudy.imaging import decode
from understudy.imaging.files import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from understudy.types import Detections, SourceImage

HELP = """usage: understudy detect input=PATH output=FILE.jsonl [key=value ...]

Writes one JSON line for each picture: image_id, width, height, and faces with xyxy, confidence and keypoints (right
eye, left eye, nose, right and left corner of the mouth; null where unknown), in upright pixels. The file appears when
all is done, and `understudy anonymize boxes=FILE.jsonl` reads it back, with what you changed in it.

target=both adds bodies, and people: for each the places of its body and its face in these lists (null where none was
found). target=body lists bodies and people, and looks for no faces; boxes= takes no such file.

ends    0 every picture was searched; 1 nothing could run; 3 some inputs could not be read
"""
SKIPPED, FAILED = "skipped", "failed"


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("detect", HELP))
        return 0
    config = compose_config("detect", choose_keypoints(flags.overrides), flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    return detect(read(config, Detect, "detect"))


def detect(settings: Detect) -> int:
    """Search every picture of a collection and write what was found."""
    inputs = open_inputs(settings.input)
    detector, target = build_detector(settings), one_target(settings.target)
    n_pictures = n_failed = n_skipped = 0
    counts: Counter[str] = Counter()
    console = Console(stderr=True)
    with _written_whole(Path(settings.output)) as lines:
        for file in track(inputs, "detect", console=console, disable=not console.is_terminal):
            found = _search(file, detector, settings.max_pixels)
            if isinstance(found, str):
                n_skipped += found == SKIPPED
                n_failed += found != SKIPPED
                if found != SKIPPED:
                    print(f"{FAILED}: {printable(file.image_id)}: {found}", file=sys.stderr)
                continue
            source, seen = found
            height, width = source.view.shape[:2]
            lines.write(detection_line(source.image_id, seen, height=height, width=width, target=target) + "\n")
            n_pictures += 1
            counts.update(str(kind) for kind in seen.kind)
            counts["people"] += len(set(seen.subject_id.tolist()))
    if n_pictures + n_failed == 0:
        print(f"understudy: {nothing_done('picture', n_skipped, printable(shown_root(inputs)))}", file=sys.stderr)
    apart = {"failed": n_failed, "skipped, being no pictures": n_skipped}
    rest = ", ".join(f"{n} {what}" for what, n in apart.items() if n)
    print(f"{_counted(counts, target)} in {n_pictures} picture(s){f'; inputs: {rest}' if rest else ''}")
    print(f"results lie in {settings.output}")
    return 3 if n_failed else 0


def _counted(counts: Mapping[str, int], target: Target) -> str:
    """How many were found, in words."""
    if target == "face":
        return f"{counts['face']} faces"
    faces = f" and {counts['face']} faces" if target == "both" else ""
    return f"{counts['people']} people ({counts['body']} bodies{faces})"


def _search(file: Item, detector: Detector, max_pixels: int) -> tuple[SourceImage, Detections] | str:
    """A picture with who is in it; ``SKIPPED``, or why it could not be searched."""
    if file.problem:
        return SKIPPED if file.status == SKIPPED else file.problem
    try:
        source = decode(file.read(lambda _size, _stamp: None), file.image_id, max_pixels=max_pixels)
        return source, detector(source.view)
    except NotMediaError:
        return SKIPPED
    except UnderstudyError as error:
        return str(error).removeprefix(f"{file.image_id}: ")
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"
    except MemoryError:
        return "out of memory"


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name when everything is in it, and not at all where something fails.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    part: Path | None = None
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise OutputError(f"output {printable(str(path))!r} is a folder: give the name of a .jsonl file")
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=TEMPORARY_SUFFIX, dir=path.absolute().parent)
        part = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as lines:
            yield lines
            lines.flush()
            os.fsync(lines.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"output {printable(str(path))!r} cannot be written: {(error.strerror or '').lower()}"
        ) from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)
