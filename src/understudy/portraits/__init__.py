"""Two portraits in the public domain, for the demo; README.md beside them tells where they come from."""
