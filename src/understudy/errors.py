"""The exceptions that understudy raises. Each message says what happened, with values, and what to do."""

from __future__ import annotations

import re


class UnderstudyError(Exception):
    """Base of everything that understudy raises on purpose."""


class InvalidInputError(UnderstudyError, ValueError):
    """A value, shape or range that a function does not accept."""


class ConfigError(UnderstudyError):
    """A configuration that cannot be run as it stands; nothing was written."""


class MissingWeightsError(UnderstudyError):
    """Weights that a configuration needs are not on this machine."""


class WeightsDigestError(UnderstudyError):
    """A weight file's digest is not the one in the registry."""


class MissingExtraError(UnderstudyError, ImportError):
    """An optional dependency is needed for what was asked."""


class UnreadableImageError(UnderstudyError):
    """A file that claims to be a picture cannot be decoded."""


class RefusedImageError(UnderstudyError):
    """A picture that is refused on purpose: over the pixel limit, animated, or a video."""


class NotMediaError(UnderstudyError):
    """A file that is no picture at all; it is skipped and counted."""


class OutputError(UnderstudyError):
    """The output folder cannot be written, is full, or belongs to another run."""


class GenerationError(UnderstudyError):
    """A generator failed or returned something that is no face."""


class MemoryLimitError(GenerationError):
    """One region alone is more than memory holds."""


class StateMismatchError(UnderstudyError):
    """A run is resumed although its config, weights or sources changed."""


_OUT_OF_MEMORY = re.compile(
    r"out of memory|bad[ _]alloc|failed to allocate memory|smaller than requested bytes"
    r"|insufficient memory|(can't|cannot|could not|unable to) allocate",
    re.IGNORECASE,
)
"""In what torch ("CUDA out of memory", "can't allocate memory"), onnxruntime ("Failed to allocate memory for requested
buffer", "Available memory of 1 is smaller than requested bytes of 2", "bad allocation"), OpenCV ("Insufficient memory")
and numpy ("Unable to allocate") say."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, of this machine or of its GPU, whoever raised it."""
    if isinstance(error, MemoryError | MemoryLimitError):
        return True
    named = any(cls.__name__ == "OutOfMemoryError" for cls in type(error).__mro__)
    return named or (not isinstance(error, UnderstudyError) and _OUT_OF_MEMORY.search(str(error)) is not None)
