"""Films: decode, find, track, replace, encode; in bounded memory, and able to go on after any stop."""
