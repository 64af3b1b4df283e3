"""A stand-in for the whole pipeline: real PNG files in and out, a block of each inverted, and failures on order.

Run as a program it anonymises a folder with the local runner: ``python tests/faults/tiny_job.py INPUT OUTPUT WORKERS``.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from understudy.batch.inputs import open_inputs
from understudy.batch.local import RunSettings, run_local
from understudy.errors import GenerationError, RefusedImageError, UnderstudyError, UnreadableImageError
from understudy.types import (
    AnonymizedImage,
    Detections,
    Encoding,
    Kind,
    Outcome,
    OutcomeKind,
    SourceImage,
)

FINGERPRINT = {"config": {"generator": "invert"}, "weights": {"tiny": "00ff"}}


@dataclass(frozen=True)
class Encoded:
    data: bytes
    suffix: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class TinyJob:
    """Names steer it: a picture called ``raise-STAGE...`` raises there, ``value-...`` fails as a value."""

    pause_s: float = 0.0
    """Longest pause of a stage; how long each picture pauses depends on its bytes."""
    calls: Counter[str] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)
    in_flight: Counter[str] = field(default_factory=Counter)
    peak_pixels: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _step(self, stage: str, image_id: str, digest: bytes) -> None:
        with self._lock:
            self.calls[f"{stage} {image_id}"] += 1
            n_calls = self.calls[f"{stage} {image_id}"]
        time.sleep(self.pause_s * digest[len(stage)] / 255)
        name = image_id.rpartition("/")[2]
        if name.startswith(f"raise-{stage}") or (name.startswith(f"once-{stage}") and n_calls == 1):
            raise ZeroDivisionError("planted")
        if name.startswith(f"memory-{stage}"):
            raise MemoryError

    def decode(self, data: bytes, image_id: str) -> SourceImage:
        digest = hashlib.sha256(data).digest()
        if "refuse" in image_id:
            raise RefusedImageError(f"{image_id}: refused on purpose")
        try:
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB")).copy()
        except Exception as error:
            raise UnreadableImageError(f"{image_id}: no picture") from error
        self._step("decode", image_id, digest)
        with self._lock:
            self.in_flight[image_id] = pixels.size // 3
            self.peak_pixels = max(self.peak_pixels, sum(self.in_flight.values()))
        return SourceImage(image_id, pixels, "RGB", None, pixels.copy(), digest, Encoding("PNG"))

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        for source in sources:
            self._step("detect", source.image_id, source.digest)
        boxes = [np.array([[8.0 * k, 0, 8 * k + 8, 8] for k in range(source.digest[0] % 4)]) for source in sources]
        return [Detections.faces(box.reshape(-1, 4), np.full(len(box), 0.9)) for box in boxes]

    def replace(
        self, sources: Sequence[SourceImage], detections: Sequence[Detections]
    ) -> list[AnonymizedImage | UnderstudyError]:
        with self._lock:
            self.batches.append(sum(len(found) for found in detections))
        return [self._replace_one(source, found) for source, found in zip(sources, detections, strict=True)]

    def _replace_one(self, source: SourceImage, found: Detections) -> AnonymizedImage | UnderstudyError:
        self._step("replace", source.image_id, source.digest)
        if "value-" in source.image_id:
            return GenerationError("planted value")
        native = np.array(source.native)
        mask = np.zeros(native.shape[:2], bool)
        for x0, y0, x1, y1 in found.xyxy.astype(int):
            mask[y0:y1, x0:x1] = True
        native[mask] = 255 - native[mask]
        n = len(found) - ("forget-" in source.image_id)
        outcomes = tuple(
            Outcome(
                region=k,
                xyxy=(float(found.xyxy[k, 0]), 0.0, float(found.xyxy[k, 2]), 8.0),
                detected_as=Kind.FACE,
                confidence=0.9,
                kind=OutcomeKind.REPLACED if k % 2 == 0 else OutcomeKind.FILLED,
                attempts=1 + k,
                reason="" if k % 2 == 0 else "guard",
                readings={"identity_distance": 0.75, "identity": "other", "seed_of_noise": 5.0},
            )
            for k in range(n)
        )
        return AnonymizedImage(source.image_id, native, outcomes, mask)

    def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> Encoded:
        self._step("encode", source.image_id, source.digest)
        buffer = io.BytesIO()
        Image.fromarray(anonymized.native).save(buffer, "PNG")
        with self._lock:
            self.in_flight.pop(source.image_id, None)
        is_png = source.image_id.lower().endswith(".png")
        return Encoded(buffer.getvalue(), "" if is_png else ".png", () if is_png else ("written as png",))


def save_picture(path: Path, seed: int, size: tuple[int, int] = (32, 16)) -> Path:
    """A small PNG of noise, whatever the path's extension says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def expected_bytes(path: Path, image_id: str) -> bytes:
    """What the stand-in writes for one file, made without the runner."""
    job = TinyJob()
    source = job.decode(path.read_bytes(), image_id)
    (result,) = job.replace([source], job.detect([source]))
    assert isinstance(result, AnonymizedImage)
    return job.encode(source, result).data


def main() -> int:
    """Run on a folder, slowly enough to be killed on the way."""
    source, output, n_workers = sys.argv[1:4]
    settings = RunSettings(n_workers=int(n_workers), micro_batch=4, max_pictures=12)
    job = TinyJob(pause_s=float(os.environ.get("TINY_PAUSE_S", "0.01")))
    summary = run_local(job, open_inputs(source), output, settings=settings, fingerprint=FINGERPRINT)
    sys.stdout.write(f"{summary.n_inputs} {summary.n_resumed}\n")
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main())
