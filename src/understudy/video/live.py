"""What has no end is refused: a webcam, a network stream."""

from __future__ import annotations

import os
import re
import stat

from understudy.errors import RefusedImageError

_LIVE = re.compile(r"(?i)(rtsps?|rtmps?|rtp|srt|udp|mms|webcam|v4l2|avfoundation|dshow)(:|$)")


def refuse_live(text: str) -> None:
    """Refuse an input that is a webcam or a network stream.

    Raises
    ------
    RefusedImageError
    """
    if (_LIVE.match(text) and not os.path.exists(text)) or _is_device(text):
        raise RefusedImageError(
            f"input {text!r} is live: a face that is missed for a moment can only be covered by looking into the "
            "future, and what was shown cannot be taken back; record it to a file, then give that file"
        )


def _is_device(text: str) -> bool:
    if re.match(r"/dev/video\d*$", text):
        return True
    try:
        return stat.S_ISCHR(os.stat(text).st_mode)
    except (OSError, ValueError):
        return False
