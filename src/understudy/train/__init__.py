"""Training of the embedded model: data, losses, loop, averages of weights, checkpoints."""
