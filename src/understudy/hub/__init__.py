"""Large pretrained checkpoints of the hub: which there are, under which licence, and how they come here."""
