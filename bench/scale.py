"""`make scale`: prints what 200 million daily users ask for, in cells, or keeps docs/scale.md at it.

    python -m bench.scale [--check | --write]

Owns the command alone: the sums are `bench.scale_sums`'s, the tables `bench.scale_page`'s.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench import scale_page
from bench.prices import prices
from bench.scale_sums import ASSUMPTIONS, bounds, day, demand, measured, quotas


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 where --check finds other tables in the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where docs/scale.md differs")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    given = parser.parse_args(arguments)
    counted = measured()
    asked = demand(counted)
    tables = scale_page.tables(
        ASSUMPTIONS, counted, asked, bounds(asked, quotas()), day(asked, counted, prices())
    )
    if given.write:
        scale_page.write(tables)
        return 0
    if not given.check:
        print("\n\n".join(tables.values()))
        return 0
    different = scale_page.different(tables)
    if different:
        names = ", ".join(different)
        print(
            f"chatcore: docs/scale.md differs in {names}: run python -m bench.scale --write",
            file=sys.stderr,
        )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
