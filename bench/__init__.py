"""Benchmarks: one command a figure (`make bench-<name>`), each with its own local cloud."""
