"""A plot of a search's ranking: a heat map, or parallel coordinates."""
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


def shorter(names):
    """Texts without the beginning that all share, in lines of at most 24 characters."""
    parts = list(zip(*(name.split("-") for name in names), strict=False))
    n_shared = next((i for i, part in enumerate(parts) if len(set(part)) > 1), 0)
    cut = sum(len(part[0]) + 1 for part in parts[:n_shared])
    return [textwrap.fill(("…" if cut else "") + name[cut:], 24) for name in names]


def positions(values):
    """Positions of values on an axis from 0 to 1, and the axis' ticks with their texts."""
    try:
        numbers = pd.to_numeric(values.replace("", "-"))
        logs = np.log10(numbers) if (numbers > 0).all() and numbers.max() / numbers.min() > 8 else numbers
        place = (logs - logs.min()) / (np.ptp(logs) or 1)
        shown = numbers.sort_values().unique()
        shown = shown if len(shown) <= 6 else numbers.quantile(np.linspace(0, 1, 5), interpolation="nearest").unique()
        ticks = [(place[numbers == value].iloc[0], f"{value:.3g}") for value in shown]
    except (TypeError, ValueError):
        names = list(dict.fromkeys(sorted(values.astype(str))))
        place = values.astype(str).map(names.index) / max(1, len(names) - 1)
        ticks = [(i / max(1, len(names) - 1), name or "-") for i, name in enumerate(shorter(names))]
    return place.to_numpy(dtype=float), ticks


def spread(places, accuracy):
    """Positions of candidates: side by side where they have the same value, in the order of their accuracy."""
    groups = pd.Series(np.asarray(accuracy)).groupby(places)
    ranks, sizes = groups.rank(method="first").to_numpy(), groups.transform("size").to_numpy()
    return places + np.where(sizes > 1, 0.08 * ((ranks - 1) / np.maximum(sizes - 1, 1) - 0.5), 0)


def draw(table, path):
    """Two settings: a heat map. More: a line for each candidate through its settings to its accuracy."""
    names = [name for name in table if name not in ("accuracy", "deviation", "seconds")]
    if len(names) == 2 and not table.duplicated(names).any() and len(table) == table[names].nunique().prod():
        grid = table.pivot(index=names[0], columns=names[1], values="accuracy")
        figure, axis = plt.subplots(figsize=(2 + 1.1 * grid.shape[1], 1.5 + 0.7 * grid.shape[0]), layout="constrained")
        image = axis.imshow(grid, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            light = image.norm(value) > 0.6
            axis.text(column, row, f"{value:.3f}", ha="center", va="center", color="black" if light else "white")
        across, down = (shorter([name if isinstance(name, str) else f"{name:.3g}" for name in part])
                        for part in (grid.columns, grid.index))
        slanted = max(map(len, across)) > 8
        axis.set_xticks(range(grid.shape[1]), across, rotation=30 * slanted, ha="right" if slanted else "center")
        axis.set_yticks(range(grid.shape[0]), down)
        axis.set(xlabel=names[1], ylabel=names[0], title="Validation accuracy")
    else:
        names = [*names, "accuracy"]
        figure, axis = plt.subplots(figsize=(2 + 2.4 * len(names), 5.5), layout="constrained")
        placed = {name: positions(table[name]) for name in names}
        lines = np.column_stack([*(spread(placed[name][0], table["accuracy"]) for name in names[:-1]),
                                 placed["accuracy"][0]])
        best = table["accuracy"].max()
        low = max(table["accuracy"].min(), best - 3 * (best - table["accuracy"].median()))
        scale = plt.Normalize(low, best)
        for line, accuracy in sorted(zip(lines, table["accuracy"], strict=True), key=lambda pair: pair[1]):
            color = plt.cm.viridis_r(0.15 + 0.85 * scale(max(accuracy, low)))       # its lightest is hardly seen
            axis.plot(line, color=color, linewidth=1.2 + 1.8 * (accuracy == best))
        for i, name in enumerate(names):
            axis.axvline(i, color="black", linewidth=0.8)
            for place, text in placed[name][1]:
                axis.annotate(text, (i, place), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                              bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5})
        axis.set(xticks=range(len(names)), xticklabels=names, yticks=[], xlim=(-0.1, len(names) - 0.6),
                 title="Settings and validation accuracy of every candidate (the thickest line is the best)")
        for side in ("left", "right", "top", "bottom"):
            axis.spines[side].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
