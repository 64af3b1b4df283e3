"""understudy: every person in your pictures, played by someone who does not exist."""

__version__ = "0.1.0"
