"""understudy: every person in your pictures, played by someone who does not exist."""

import os as _os

# onnxruntime 1.29 and later send usage data to their maker (model names among it) and leave an identifier in the home
# folder, unless this is set before they are loaded.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
