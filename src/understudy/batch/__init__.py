"""Collections of pictures: what is read, in what order it is worked on, what was done, and going on after a stop."""
