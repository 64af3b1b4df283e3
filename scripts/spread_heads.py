"""Choose heads that look unlike each other, of a folder of rendered ones, for a bank of references.

    python scripts/spread_heads.py POOL --keep 90 --out heads.txt --sheet heads.png [--without FILE]

POOL comes from ``people.render --bare``, one view of each head from the front. A head stays in question if MTCNN at
0.97 and dlib's detector both find its face; then, one at a time, the head is left out whose nearest others are nearest
in dlib's space (the mean of its five smallest distances). Look at the sheet, write the numbers of those that nobody
should meet into FILE, and run it again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from generator_faces import face_at, part
from generator_figures import SAME_PERSON, distances
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from understudy.embed.dlib_onnx import DlibOnnxEmbedder

MIN_CONFIDENCE, N_NEAREST = 0.97, 5
CELL_PX, N_COLUMNS = 128, 12


def readable(rows: list[dict[str, object]], folder: Path) -> tuple[list[dict[str, object]], NDArray[np.float64]]:
    """Rows whose face both detectors find, and their embeddings (N, 128)."""
    mtcnn, dlib, embedder = part("detector", "mtcnn"), part("detector", "dlib_hog"), DlibOnnxEmbedder()
    kept, embeddings = [], []
    for row in rows:
        view = np.asarray(Image.open(folder / str(row["file"])).convert("RGB"))
        place = np.asarray(row["face_xyxy"], np.float64)
        if face_at(mtcnn, view, place, MIN_CONFIDENCE) is None or face_at(dlib, view, place, 0) is None:
            continue
        kept.append(row)
        embeddings.append(embedder.embed(view, np.asarray(row["keypoints"], np.float64), np.ones(5)))
    return kept, np.asarray(embeddings, np.float64)


def spread(distance: NDArray[np.float64], n: int) -> list[int]:
    """Places of ``n`` items that are left when the most crowded one is taken away again and again.

    Parameters
    ----------
    distance : (N, N), NaN on the diagonal
    """
    left = list(range(len(distance)))
    while len(left) > n:
        part_of = distance[np.ix_(left, left)]
        crowded = np.sort(part_of, axis=1)[:, :N_NEAREST].mean(axis=1)  # NaN sorts last
        left.pop(int(crowded.argmin()))
    return left


def write_sheet(rows: list[dict[str, object]], folder: Path, path: Path) -> None:
    """The chosen heads with their numbers."""
    sheet = Image.new("RGB", (N_COLUMNS * CELL_PX, -(-len(rows) // N_COLUMNS) * CELL_PX))
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        corner = (place % N_COLUMNS * CELL_PX, place // N_COLUMNS * CELL_PX)
        with Image.open(folder / str(row["file"])) as picture:
            sheet.paste(picture.convert("RGB").resize((CELL_PX, CELL_PX)), corner)
        draw.text((corner[0] + 3, corner[1] + 2), str(row["index"]), fill=(255, 255, 0))
    sheet.save(path)


def main() -> None:
    """Choose, and say how far apart the chosen ones are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--keep", type=int, default=90)
    parser.add_argument("--out", type=Path, default=Path("heads.txt"))
    parser.add_argument("--sheet", type=Path, default=Path("heads.png"))
    parser.add_argument("--without", type=Path, help="numbers of heads that are left out, one a line")
    args = parser.parse_args()
    barred = set(args.without.read_text().split()) if args.without else set()
    rows = [json.loads(line) for line in (args.pool / "labels.jsonl").read_text().splitlines()]
    rows = [row for row in {row["index"]: row for row in rows}.values() if str(row["index"]) not in barred]
    found, embeddings = readable(rows, args.pool)
    apart = distances(embeddings)
    chosen = sorted(spread(apart, args.keep), key=lambda i: int(str(found[i]["index"])))
    for name, places in (("found by both", list(range(len(found)))), ("chosen", chosen)):
        among = apart[np.ix_(places, places)]
        among = among[np.isfinite(among)]
        near = 100 * (among < SAME_PERSON).mean()
        print(f"{name}: {len(places)} of {len(rows)}, median distance {np.median(among):.3f}, under 0.6: {near:.1f} %")
    args.out.write_text("".join(f"{found[i]['subject']}\n" for i in chosen))
    write_sheet([found[i] for i in chosen], args.pool, args.sheet)


if __name__ == "__main__":
    main()
