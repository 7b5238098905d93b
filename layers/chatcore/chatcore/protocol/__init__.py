"""Versioned wire models: what travels between clients, Lambdas and workers."""
