"""From the command line to objects: the only part, besides the command line itself, that knows of hydra."""
