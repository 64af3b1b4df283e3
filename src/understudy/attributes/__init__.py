"""Coarse attributes of a face: what a policy may let travel."""
