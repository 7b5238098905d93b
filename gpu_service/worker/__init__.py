"""The GPU worker: pulls runs for free slots, streams them from the engine to their viewers."""
