"""Where a film's unfinished parts lie: everything under its final name is whole, everything else is in here."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import OutputError, StateMismatchError
from understudy.imaging import is_temporary, write_atomic
from understudy.imaging.files import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from understudy.video.tracks import ROW

FINGERPRINT = "fingerprint.json"


class Workplace:
    """A hidden folder beside the output: detections, plans and finished segments of one film.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if is_temporary(path.name):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{str(folder)!r} cannot be written: {error.strerror}") from error

    def match(self, fingerprint: Mapping[str, object], *, restart: bool) -> None:
        """Keep what an earlier run left here only where it was made with the same settings from the same film.

        Raises
        ------
        StateMismatchError
            Something changed; ``resume=restart`` begins anew.
        """
        text = json.dumps(fingerprint, sort_keys=True, default=str)
        path = self.folder / FINGERPRINT
        if restart:
            self.remove()
            self.folder.mkdir(parents=True)
        elif path.exists():
            before, now = json.loads(path.read_text()), json.loads(text)
            changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
            if changed:
                raise StateMismatchError(
                    f"an earlier run on this output was made with another {', '.join(changed)}: "
                    "say resume=restart to begin anew, or give another output"
                )
        write_atomic(path, text.encode())

    def remove(self) -> None:
        """Take the folder away with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, kind: str, segment: int, suffix: str) -> Path:
        """The file of one kind for one segment."""
        return self.folder / f"{kind}-{segment:06d}{suffix}"

    @contextmanager
    def writing(self, target: Path) -> Iterator[Path]:
        """A temporary path that takes its final name when the block ends well, and is gone otherwise."""
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            raise OutputError(
                f"cannot write {target}: {error.strerror or error}; make room there, then start again"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def save_detections(self, segment: int, rows: NDArray[np.void], cuts: NDArray[np.int64], n_frames: int) -> None:
        """Keep what was found in a segment."""
        buffer = io.BytesIO()
        np.savez(buffer, rows=rows, cuts=cuts, n_frames=np.array(n_frames))
        write_atomic(self.path("found", segment, ".npz"), buffer.getvalue())

    def load_detections(self, segment: int) -> tuple[NDArray[np.void], NDArray[np.int64], int] | None:
        """What was found in a segment: rows, first frames of scenes, number of frames; None where it is to be done."""
        path = self.path("found", segment, ".npz")
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as kept:
            return kept["rows"], kept["cuts"], int(kept["n_frames"])

    def clear_plans(self) -> None:
        """Forget who is where; it is worked out again from the detections."""
        for path in self.folder.glob("plan-*.bin"):
            path.unlink()

    def add_to_plan(self, rows: NDArray[np.void], segment_frames: int) -> None:
        """Append rows of a finished track to the plans of the segments that they lie in."""
        segments = rows["frame"] // segment_frames
        for segment in np.unique(segments):
            with self.path("plan", int(segment), ".bin").open("ab") as file:
                file.write(rows[segments == segment].tobytes())

    def plan(self, segment: int) -> NDArray[np.void]:
        """Who is where in a segment, in order of frame and track."""
        path = self.path("plan", segment, ".bin")
        rows = np.frombuffer(path.read_bytes(), ROW) if path.exists() else np.zeros(0, ROW)
        return rows[np.lexsort((rows["track"], rows["frame"]))]

    def save_json(self, name: str, content: object) -> None:
        """Keep plain data."""
        write_atomic(self.folder / name, json.dumps(content, sort_keys=True).encode())

    def load_json(self, name: str) -> object:
        """Plain data that was kept, or None."""
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None
