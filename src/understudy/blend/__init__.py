"""Put an understudy into the canvas so that no seam shows; only what lies outside the masks is ever looked at."""

from understudy.blend.layers import laid_over
from understudy.blend.membrane import MembraneBlender

__all__ = ["MembraneBlender", "laid_over"]
