"""Condition -> Generated, and the obscuring baselines."""
