"""A server around the stand-in job, whose pictures are steered by their width; and how a test starts any server.

Run as a program it serves until a signal comes: ``python tests/faults/tiny_serve.py '{"port": 0}'``.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from understudy.errors import NotMediaError, RefusedImageError, UnderstudyError, UnreadableImageError
from understudy.imaging import sniff
from understudy.serve.app import build_app
from understudy.serve.run import bind, check_exposure, make_server, run_server
from understudy.serve.settings import ServeSettings
from understudy.types import AnonymizedImage, Detections, Encoding, Kind, Outcome, OutcomeKind, SourceImage

SECRET = "/home/ada/portrait-of-grace.png"
RAISES, FORGETS, KEEPS, REFUSES, SLOW, NO_MEMORY, OTHER_SIZE, FINDS_MORE, STUCK = range(101, 110)
"""Widths that steer the job."""
SLOW_S = 1.0


@dataclass(frozen=True)
class Encoded:
    data: bytes
    notes: tuple[str, ...] = ("a note",)


class SteeredJob:
    """Inverts two blocks of a picture, or fails as the picture's width says."""

    def decode(self, data: bytes, image_id: str) -> SourceImage:
        if sniff(data[:512]) is None:
            raise NotMediaError(f"{image_id}: neither a picture nor a video ({len(data)} bytes)")
        try:
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB")).copy()
        except Exception as error:
            raise UnreadableImageError(f"{image_id}: cannot be decoded") from error
        return SourceImage(image_id, pixels, "RGB", None, pixels.copy(), hashlib.sha256(data).digest(), Encoding("PNG"))

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        if sources[0].view.shape[1] == RAISES:
            raise ZeroDivisionError(SECRET)
        return [Detections.faces(np.array([[0, 0, 8, 8], [8, 0, 16, 8]]), np.array([0.9, 0.8])) for _ in sources]

    def replace(
        self, sources: Sequence[SourceImage], detections: Sequence[Detections]
    ) -> list[AnonymizedImage | UnderstudyError]:
        (source,) = sources
        width = source.view.shape[1]
        result = inverted(source)
        first, second = result.outcomes
        if width == REFUSES:
            return [RefusedImageError(f"{result.image_id}: 1 face is still found")]
        if width == FORGETS:
            return [replace(result, outcomes=(first,))]
        if width == KEEPS:
            return [replace(result, outcomes=(first, replace(second, kind=OutcomeKind.KEPT)))]
        if width == FINDS_MORE:
            return [replace(result, outcomes=(first, second, replace(second, region=2, found_by="residual")))]
        if width == OTHER_SIZE:
            return [replace(result, native=result.native[:-1])]
        if width in (SLOW, STUCK):
            time.sleep(SLOW_S if width == SLOW else 60)
        return [result]

    def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> Encoded:
        if source.view.shape[1] == NO_MEMORY:
            raise MemoryError
        buffer = io.BytesIO()
        Image.fromarray(anonymized.native).save(buffer, "PNG")
        return Encoded(buffer.getvalue())


def inverted(source: SourceImage) -> AnonymizedImage:
    """The first rows inverted, as two regions: one replaced, one filled."""
    native = np.array(source.native)
    mask = np.zeros(native.shape[:2], bool)
    mask[:8, :16] = True
    native[mask] = 255 - native[mask]
    kinds = (OutcomeKind.REPLACED, OutcomeKind.FILLED)
    outcomes = tuple(
        Outcome(
            region=k,
            xyxy=(8.0 * k, 0.0, 8.0 * k + 8, 8.0),
            detected_as=Kind.FACE,
            confidence=0.9,
            kind=kind,
            attempts=1 + k,
            readings={"identity_distance": 0.75},
        )
        for k, kind in enumerate(kinds)
    )
    return AnonymizedImage(source.image_id, native, outcomes, mask)


def png(width: int = 24, height: int = 16, seed: int = 0) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    folder: Path
    """Its current, temporary and home folder in one."""

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def memory_peak(self) -> int:
        """The most memory that was resident so far, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def files(self) -> list[str]:
        """What lies in its folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def client(self) -> httpx.Client:
        return client_of(self.url)


@contextmanager
def serving(command: Sequence[str], folder: Path, **environment: str) -> Iterator[Running]:
    """Start a server, wait until it listens, and kill it in the end."""
    home, log = folder / "home", folder / "log"
    home.mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "UNDERSTUDY_MODELS", "LANG"}}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**kept, "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Running(process, _address(process, log), log, home)
    finally:
        process.kill()
        process.wait()


def serving_tiny(folder: Path, settings: Mapping[str, object]) -> AbstractContextManager[Running]:
    """A server around the stand-in job."""
    return serving([sys.executable, __file__, json.dumps({"port": 0, **settings})], folder)


@contextmanager
def serving_here(**given: object) -> Iterator[str]:
    """A server around the stand-in job in a thread of this process; gives its address."""
    settings = ServeSettings(**{"port": 0, **given})  # type: ignore[arg-type]
    is_loopback = check_exposure(settings)
    bound = bind(settings)
    served = build_app(SteeredJob(), settings, is_loopback=is_loopback)
    server = make_server(served, settings)
    bound.listen()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
    finally:
        served.stop()
        server.should_exit = True
        thread.join(30)
        bound.close()


def client_of(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = log.read_text()
        if "listening on " in text:
            return text.partition("listening on ")[2].split()[0]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Serve."""
    given = json.loads(sys.argv[1])
    settings = ServeSettings(**{**given, "hosts": tuple(given.get("hosts", ()))})
    return run_server(SteeredJob(), settings, _say)


if __name__ == "__main__":
    sys.exit(main())
