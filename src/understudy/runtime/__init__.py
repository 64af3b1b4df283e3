"""Run a network: providers, threads, and what really runs."""
