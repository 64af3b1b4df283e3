"""``understudy demo``: the main job on the two portraits that come with the package."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.batch.tables import read_table
from understudy.cli.anonymize import anonymize, describe
from understudy.config.build import choose_residual
from understudy.config.compose import compose_config, read_flags
from understudy.config.locations import portraits
from understudy.config.read import as_text, read_anonymize
from understudy.errors import ConfigError
from understudy.imaging import decode, write_atomic

FOLDER = "understudy-demo"
SHEET = "contact-sheet.png"
HELP = f"""usage: understudy demo [key=value ...]

Copies two portraits in the public domain to ./{FOLDER}/before, replaces the people in them, and writes
./{FOLDER}/after and a sheet of before, after and difference. Settings are those of `understudy anonymize`, but for
input and output; `understudy demo --cfg job` prints them.

ends    as `understudy anonymize`: 0 both are done; 1 nothing could run; 3 one failed
"""
_TILE_PX = 320
_GAIN = 2
"""The difference is shown this many times as strong."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(HELP, end="")
        return 0
    if any(o.lstrip("+").startswith(("input=", "output=")) for o in flags.overrides):
        raise ConfigError("demo chooses input and output itself; use `understudy anonymize` for your own pictures")
    root = Path(FOLDER)
    before, after = root / "before", root / "after"
    # made anew each time, so that a change of settings or weights needs no word
    overrides = [f"input={before}", f"output={after}", "resume=restart", *flags.overrides]
    config = compose_config("anonymize", choose_residual(overrides), flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    before.mkdir(parents=True, exist_ok=True)
    for portrait in portraits():
        shutil.copyfile(portrait, before / portrait.name)
    settings = read_anonymize(config)
    summary = anonymize(settings)
    print(describe(summary, str(after)))
    for record in read_table(after, "regions"):
        why = f": {record['reason']}" if record["reason"] else ""
        print(f"  {record['image_id']}: {record['outcome']} after {record['attempts']} attempt(s){why}")
    sheet = root / SHEET
    write_atomic(sheet, contact_sheet([(before / p.name, after / "images" / p.name) for p in portraits()]))
    print(f"before, after, difference: {sheet}")
    return summary.exit_code


def contact_sheet(pairs: Sequence[tuple[Path, Path]]) -> bytes:
    """A PNG with one row for each pair of pictures: before, after, and their difference on grey."""
    rows = [_row(_view(before), _view(after)) for before, after in pairs if after.is_file()]
    if not rows:
        raise ConfigError("nothing was written, so there is nothing to show")
    target = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(target, "PNG")
    return target.getvalue()


def _view(path: Path) -> NDArray[np.uint8]:
    return decode(path.read_bytes(), path.name).view


def _row(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(_TILE_PX, 3 * _TILE_PX, 3): three square tiles."""
    difference = np.clip(128 + _GAIN * (after.astype(np.int16) - before.astype(np.int16)), 0, 255).astype(np.uint8)
    return np.hstack([_tile(picture) for picture in (before, after, difference)])


def _tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, scaled into a white square."""
    height, width = picture.shape[:2]
    scale = (_TILE_PX - 8) / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    tile = np.full((_TILE_PX, _TILE_PX, 3), 255, np.uint8)
    x, y = (_TILE_PX - size[0]) // 2, (_TILE_PX - size[1]) // 2
    tile[y : y + size[1], x : x + size[0]] = small
    return tile
