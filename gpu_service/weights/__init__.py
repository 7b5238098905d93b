"""The model's files, from their bucket to the disk of the machine, before the engine starts."""
