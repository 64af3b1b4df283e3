"""Whether anybody of a run with target=both or body is still met by embedding: people by OSNet, faces by an embedder.

    python scripts/bodies_check.py --before FOLDER --after OUTPUT

For trials: OSNet's weights are for research only, and the run's own detector is not used for faces. It prints, with n:
how many regions were replaced and filled, and of people of 96 px and more; the similarity of each person's box before
and after, against that of different people; how often the nearest original of a new person is the one who stood there
(with chance); the same for faces, as YuNet finds them before and after.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from understudy.batch.tables import read_table
from understudy.detect.overlap import pairwise_iou
from understudy.detect.yunet import YuNet
from understudy.embed.arcface import AlignedOnnxEmbedder
from understudy.embed.osnet import OsnetEmbedder
from understudy.imaging import decode

TALL_PX = 96


def main() -> None:
    """Read a run, compare, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--before", type=Path, required=True)
    arguments.add_argument("--after", type=Path, required=True)
    given = arguments.parse_args()
    regions = read_table(given.after, "regions")
    counts(regions)
    people, faces = [], []
    osnet, finder = OsnetEmbedder(), YuNet(threshold=0.8)
    embedder = AlignedOnnxEmbedder(
        "mobilefacenet", "mobilefacenet_foamliu", mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)
    )
    for image_id in sorted({str(region["image_id"]) for region in regions}):
        old, new = (
            decode(path.read_bytes(), image_id).view
            for path in (given.before / image_id, given.after / "images" / image_id)
        )
        for region in regions:
            box = np.array([region[k] for k in ("x0", "y0", "x1", "y1")], np.float64)
            if region["image_id"] == image_id and region["kind"] == "body" and osnet.can_judge(box):
                people.append((osnet.embed(old, box), osnet.embed(new, box)))
        faces += faces_of(finder, embedder, old, new)
    for name, pairs in (("people", people), ("faces", faces)):
        compare(name, pairs)


def counts(regions: list[dict[str, object]]) -> None:
    """Counts by outcome, and of people who are not small."""
    for kind in ("body", "face"):
        print(kind, dict(Counter(str(r["outcome"]) for r in regions if r["kind"] == kind)))
    tall = [r for r in regions if r["kind"] == "body" and float(r["y1"]) - float(r["y0"]) >= TALL_PX]  # type: ignore[arg-type]
    replaced = sum(r["outcome"] == "replaced" for r in tall)
    print(f"people of {TALL_PX} px or more: {replaced} of {len(tall)} replaced")


def faces_of(
    finder: YuNet, embedder: AlignedOnnxEmbedder, old: np.ndarray, new: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Embedding of each face before, with that of the face that is found in its place."""
    before, after = finder(old), finder(new)
    overlap = pairwise_iou(before.xyxy, after.xyxy)
    pairs: list[tuple[np.ndarray, np.ndarray | None]] = []
    for i in range(len(before)):
        if not embedder.can_judge(before.keypoints[i], before.visibility[i], before.xyxy[i]):
            continue
        own = embedder.embed(old, before.keypoints[i], before.visibility[i])
        j = int(overlap[i].argmax()) if len(after) else -1
        met = j >= 0 and overlap[i, j] > 0.2
        pairs.append((own, embedder.embed(new, after.keypoints[j], after.visibility[j]) if met else None))
    return pairs


def compare(name: str, pairs: list[tuple[np.ndarray, np.ndarray | None]]) -> None:
    """Similarity of each original with what stands in its place, beside that of different originals."""
    gallery = np.array([old / np.linalg.norm(old) for old, _ in pairs])
    index = [i for i, (_, new) in enumerate(pairs) if new is not None]
    probes = np.array([pairs[i][1] / np.linalg.norm(pairs[i][1]) for i in index])
    between = (gallery @ gallery.T)[~np.eye(len(gallery), dtype=bool)]
    similarity = probes @ gallery.T
    own = similarity[np.arange(len(index)), index]
    limit = float(np.quantile(between, 0.99))
    right = int((similarity.argmax(axis=1) == index).sum())
    print(
        f"{name}: n = {len(pairs)} originals, {len(index)} met again in their place; cosine with their own original "
        f"{np.median(own):.2f} (median), {own.max():.2f} (largest); of different originals {np.median(between):.2f}, "
        f"99 of 100 under {limit:.2f}; over that: {int((own > limit).sum())} of {len(index)}; nearest original is the "
        f"own one: {right} of {len(index)} (chance {len(index) / len(gallery):.1f})"
    )


if __name__ == "__main__":
    main()
