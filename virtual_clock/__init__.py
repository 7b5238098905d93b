"""The clock of simulations and measures: it jumps to the next timer, and nothing sleeps for real."""
