"""The ports in memory: for tests and the simulation, shipped as product, held to the same contract."""
