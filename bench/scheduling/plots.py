"""Pictures of the benchmarks' figures, for the docs: the only module that draws.

The same figures give the same bytes: no display, a fixed size, and nothing in the file of when and by
what it was made. It must not measure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH_IN, HEIGHT_IN, DPI = 10.0, 5.6, 120


def canvas() -> Figure:
    """An empty picture. Not by pyplot, which keeps state and looks for a display."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})


def service(
    path: Path,
    moments_s: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    heavy: Collection[str],
) -> None:
    """Service rates by client over time, a panel for each policy, on one scale."""
    figure = canvas()
    rows = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (policy, rates) in zip(rows, panels.items(), strict=True):
        for number, (client, values) in enumerate(rates.items()):
            is_heavy = client in heavy
            axes.plot(
                moments_s,
                values,
                color=f"C{number}",
                linestyle="-" if is_heavy else "--",
                linewidth=1.8 if is_heavy else 1.2,
                label=f"client {client}, {'heavy' if is_heavy else 'light'}",
            )
        axes.set_title(policy, loc="left", fontsize=11)
        axes.set_ylim(bottom=0)
        axes.set_xlim(moments_s[0], moments_s[-1])
        axes.spines[["top", "right"]].set_visible(False)
    rows[len(rows) // 2].set_ylabel("service per second, in a window of 60 s")
    rows[-1].set_xlabel("seconds of the trace")
    lines, names = rows[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=len(names), frameon=False)
    save(figure, path)


def scores_by_workers(
    path: Path, workers: Sequence[int], scores: Mapping[str, Sequence[float]]
) -> None:
    """Mean scores over the number of workers, a line for each policy."""
    figure = canvas()
    axes = figure.add_subplot()
    for number, (policy, values) in enumerate(scores.items()):
        axes.plot(workers, values, marker="os^"[number % 3], color=f"C{number}", label=policy)
        axes.annotate(
            f"{values[-1]:.0f}",
            (workers[-1], values[-1]),
            xytext=(8, 8 - 14 * (number % 2)),
            textcoords="offset points",
            color=f"C{number}",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(workers, [str(count) for count in workers])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("workers that share the same capacity")
    axes.set_ylabel("mean score (lower is fairer)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(scores), frameon=False)
    save(figure, path)


def cache_hits(path: Path, rates: Mapping[str, float], bounds: Mapping[str, float]) -> None:
    """Block hit rates (0 to 1) as bars, the first one on top, and what bounds them as lines."""
    figure = canvas()
    axes = figure.add_subplot()
    names = list(rates)
    bars = axes.barh(names, [100 * rate for rate in rates.values()], color="#4878a8")
    axes.bar_label(
        bars, fmt="%.1f", padding=3, fontsize=8, bbox={"fc": "white", "ec": "none", "pad": 1}
    )
    for number, (name, bound) in enumerate(bounds.items()):
        axes.axvline(
            100 * bound,
            color=f"C{number + 1}",
            linestyle=("--", ":", "-.")[number % 3],
            label=f"{name}: {bound:.1%}",
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 40)
    axes.set_xlabel("blocks found in the prefix cache, %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(bounds), fontsize=8, frameon=False)
    save(figure, path)
