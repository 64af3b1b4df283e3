"""What a run says: plain lines, or one JSON object a line; on request without anything but the collection's own names.

No log ever holds picture content: no pixels, no embeddings, no boxes, no metadata of a picture.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, Literal

from understudy.batch.ledger import Status
from understudy.batch.progress import Event
from understudy.batch.sources import printable
from understudy.batch.summary import RunSummary

PROGRESS_S = 30.0
"""How often a JSON log tells rates."""

_LEVELS: Mapping[Status, str] = {Status.FAILED: "error", Status.QUARANTINED: "error", Status.REFUSED: "warning"}
_QUOTED_PATH = re.compile(r"(['\"])(?:~|\.\.)?/[^'\"]*\1")
_PATH = re.compile(r"(?<![\w<>/.~])(?:~|\.\.)?/[^\s'\",;()<>]+")
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\",;()<>]+")
_BYTES = re.compile(r" \(it starts with [0-9a-f ]*\)")
_FOREIGN = re.compile(r"(unexpected \w+): .*", re.DOTALL)


class Redactor:
    """Takes out of a text every path and address that does not lie in the collection or its output.

    Parameters
    ----------
    roots : mapping
        Folders and addresses, each with the word that takes its place.
    """

    def __init__(self, roots: Mapping[str, str]) -> None:
        longest_first = sorted(roots.items(), key=lambda pair: -len(pair[0]))
        self._roots = [(root.rstrip("/"), word) for root, word in longest_first if len(root.rstrip("/")) > 1]

    def __call__(self, text: str) -> str:
        """The text without them, without the bytes of files, and without what foreign libraries said."""
        for root, word in self._roots:
            text = re.sub(rf"{re.escape(root)}(?![\w.-])", word, text)
        text = _FOREIGN.sub(r"\1", _BYTES.sub("", text))
        text = _ADDRESS.sub("<address>", text)
        return _PATH.sub("<path>", _QUOTED_PATH.sub(r"\1<path>\1", text))


class Log:
    """Says what happens in a run, on standard error.

    Parameters
    ----------
    form : "text" or "json"
        Text leaves settled inputs to the progress bar and to the summary; JSON tells each.
    redact : callable, optional
        Every message goes through it.
    stream : text file, optional
        Standard error where left out.
    """

    def __init__(
        self,
        form: Literal["text", "json"] = "text",
        redact: Callable[[str], str] | None = None,
        stream: IO[str] | None = None,
    ) -> None:
        self.form = form
        self._redact = redact or (lambda text: text)
        self._stream = stream or sys.stderr
        self._began = self._told = time.monotonic()
        self._n = 0

    def clean(self, text: str) -> str:
        """A message as it may be said."""
        return self._redact(text)

    def write(self, level: str, event: str, **fields: object) -> None:
        """One JSON line: time, level and event first."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **fields}
        self._stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self._stream.flush()

    def warn(self, text: str) -> None:
        """What the user should know."""
        self._say("warning", "warning", text)

    def fail(self, text: str) -> None:
        """Why the run ends."""
        self._say("error", "stopped", text)

    def _say(self, level: str, event: str, text: str) -> None:
        if self.form == "json":
            self.write(level, event, message=self.clean(text))
        else:
            print(f"understudy: {self.clean(text)}", file=self._stream)

    def begin(self, **fields: object) -> None:
        """The run begins."""
        if self.form == "json":
            self.write("info", "begin", **fields)

    def settled(self, event: Event) -> None:
        """One input, or several of an earlier run."""
        if self.form != "json":
            return
        self._n += 0 if event.resumed else event.n
        if event.resumed and not event.error:
            self.write("info", "resumed", status=str(event.status), n=event.n)
        elif event.image_id:
            regions = {f"n_{name}": n for name, n in sorted(event.outcomes.items())}
            why = {"reason": self.clean(event.error)} if event.error else {}
            level = _LEVELS.get(event.status, "info")
            name = printable(event.image_id)
            self.write(level, "settled", image_id=name, status=str(event.status), **why, **regions)
        now = time.monotonic()
        if now - self._told >= PROGRESS_S:
            self._told = now
            self.write("info", "progress", n_settled=self._n, per_second=round(self._n / (now - self._began), 2))

    def end(self, summary: RunSummary) -> None:
        """The run has come to its end."""
        if self.form == "json":
            self.write(
                "info",
                "end",
                inputs={str(status): n for status, n in sorted(summary.counts.items()) if n},
                regions={name: n for name, n in sorted(summary.outcomes.items()) if n},
                n_resumed=summary.n_resumed,
                seconds=round(summary.elapsed_s, 3),
                per_second=round(summary.rate, 3),
                exit_code=summary.exit_code,
            )
