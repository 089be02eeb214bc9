"""Benchmarks: `python -m tests.benchmarks`. Each figure is a ratio to a peer or a limit that the same run measured."""
