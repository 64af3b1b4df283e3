"""What may stand in a config, and of which type: one dataclass for each command that runs something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

Component = dict[str, Any]
"""A ``_target_`` and its arguments; checked where it is built."""


@dataclass
class Runtime:
    """How networks are run."""

    name: str = "onnx"
    """onnx or torch: what runs the generator. Networks that exist as ONNX only run on onnxruntime in either case."""
    providers: list[str] = field(default_factory=lambda: ["CPUExecutionProvider"])
    """Execution providers of onnxruntime, the most wanted first."""
    n_threads: int = 1
    """Threads within one network, fixed so that results do not depend on the machine's load."""
    device: str = "cpu"
    """Device of torch: cpu, cuda, cuda:1."""


@dataclass
class Anonymize:
    """``understudy anonymize``: the main job."""

    input: str = MISSING
    """A file, a folder (recursive), a glob, or a .txt list of paths."""
    output: str = MISSING
    """Folder that is written: images/, tables, run.yaml, ledger.db."""
    boxes: str | None = None
    """JSON lines with the user's own boxes."""
    boxes_mode: str = "replace"
    """replace: the boxes instead of our detector, in pictures that the file names; add: both."""
    boxes_frame: str = "upright"
    """upright, or raw: pixels of the file before its EXIF orientation is applied."""
    seed: int = 0
    mark: bool = True
    """Declare in the picture's XMP that it was composited with generated parts."""
    resume: str = "continue"
    """continue: go on where an earlier run stopped; restart: begin anew."""
    max_pixels: int = 200_000_000
    """Larger pictures are refused."""
    n_attempts: int = 3
    """Seeds that are tried before a face is filled."""
    context: float = 1.45
    """Side of the generator's window over the longer side of the region."""
    debug: bool = False
    """Show the traceback of an error."""
    detector: Component = MISSING
    residual: Component = MISSING
    generator: Component = MISSING
    guard: Component = MISSING
    blender: Component = MISSING
    attributes: Component = MISSING
    runner: Component = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Detect:
    """``understudy detect``: what is found, and nothing else."""

    input: str = MISSING
    output: str = MISSING
    """File of JSON lines, one for each picture."""
    max_pixels: int = 200_000_000
    debug: bool = False
    detector: Component = MISSING
    runtime: Runtime = field(default_factory=Runtime)


SCHEMAS = {"anonymize": Anonymize, "detect": Detect}
"""Schema of each command's primary config, by the config's name."""
