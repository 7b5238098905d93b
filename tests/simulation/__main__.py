"""`make simulate`: plays many seeds, or one with its history."""

import argparse
import sys
import time

from tests.simulation.mutations import BY_NAME
from tests.simulation.seeds import Failure, all_cores


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument(
        "--mutation", choices=sorted(BY_NAME), help="with this fault in the product"
    )
    options = parser.parse_args()
    one = options.seed is not None
    seeds = [options.seed] if one else range(options.first, options.first + options.seeds)
    began_s = time.monotonic()
    with all_cores() as players:
        played = players.play(seeds, options.mutation)
    took_s = time.monotonic() - began_s
    if played.failure is None:
        if one:
            print(played.history)
        print(f"{played.seeds} seeds held, {played.seeds / took_s * 60:,.0f} a minute")
        return 0
    _tell(played.failure)
    return 1


def _tell(failure: Failure) -> None:
    print(failure.history)
    print(f"seed {failure.seed} failed: {failure.why}", file=sys.stderr)
    print(f"to play it again: make simulate SEED={failure.seed}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
