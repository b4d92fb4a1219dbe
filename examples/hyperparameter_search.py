"""Searches for hyper-parameters on Fashion-MNIST: the reports' own, and one over the size of networks.

    python examples/hyperparameter_search.py                              # report 1's: learning rate, L2, batch, epochs
    python examples/hyperparameter_search.py --space report_2 --method grid
    python examples/hyperparameter_search.py --space size --method halving
    python examples/hyperparameter_search.py --method optuna              # needs pip install 'fmnist_sk[optuna]'

Trains on some of the training images and ranks candidates by accuracy on others. Writes ranking.csv, search.png and the
best model to output/search. Finished fits are kept in output/search/fits: the same command after Ctrl-C, or after a
power cut, trains none of them again, and a halving search trains its candidates on instead of anew.
"""
import argparse
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _options import check_folds, prepare
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import Pipeline

import fmnist_sk
from fmnist_sk import ConvNetClassifier, ResNetClassifier, reference_system

try:
    import matplotlib.pyplot as plt
    import safetensors  # noqa: F401
except ImportError as error:
    raise SystemExit(f"This script needs {error.name}: pip install 'fmnist_sk[plot,save]'") from None

FEATURES = "32C3-MP2-64C3-MP2-128C3-MP2-256C3-MP2"
# For each space the model, and dicts of parameters: a list of choices, or a range (low, high) to be drawn from evenly
# on a logarithmic scale.
SPACES = {
    "report_1": (reference_system("cnn_2", "softmax, augmented"), [
        {"lr": (1e-4, 1e-2), "weight_decay": (1e-5, 1e-2), "batch_size": [32, 64, 128, 256],
         "max_epochs": [3, 6, 10]}]),
    "report_2": (reference_system("four_layer_cnn"), [
        {"lr": [0.001, 0.003, 0.01], "batch_size": [64, 128], "dropout": [0.3, 0.5],
         "architecture": [f"{FEATURES}-{dense}" for dense in ("128N", "256N", "512N", "256N-128N")]}]),
    "size": (Pipeline([("net", ResNetClassifier())]), [
        {"net": [ConvNetClassifier()], "net__architecture": [
            "16C3-MP2-32C3-MP2-64N", "32C3-MP2-64C3-MP2-128N", "32C3-32C3-MP2-64C3-64C3-MP2-256N",
            "32C3-32C3-MP2-64C3-64C3-MP2-128C3-128C3-MP2-256N"]},
        {"net": [ResNetClassifier()], "net__n_blocks": [(1,), (1, 1), (2, 2), (1, 1, 1)], "net__width": [16, 32, 64]}]),
}


def as_grid(values, points=3):
    return np.geomspace(*values, points).tolist() if isinstance(values, tuple) else values


def search_with(method, model, spaces, n_candidates, cv, epochs, jobs, seed):
    """A fitted search of scikit-learn."""
    prefix = "net__" if isinstance(model, Pipeline) else ""
    common = {"cv": cv, "n_jobs": jobs, "verbose": 3}
    if method == "grid":
        grid = [{name: as_grid(values) for name, values in space.items()} for space in spaces]
        return GridSearchCV(model, grid, **common)
    drawn = [{name: loguniform(*values) if isinstance(values, tuple) else values for name, values in space.items()}
             for space in spaces]
    if method == "random":
        return RandomizedSearchCV(model, drawn, n_iter=n_candidates, random_state=seed, **common)
    for space in drawn:                              # halving says how many epochs there are
        space.pop("max_epochs", None)
    model = clone(model).set_params(**{f"{prefix}schedule_epochs": epochs})
    for space in drawn:
        space[f"{prefix}schedule_epochs"] = [epochs]
    return HalvingRandomSearchCV(model, drawn, n_candidates=n_candidates, resource=f"{prefix}max_epochs",
                                 max_resources=epochs, min_resources=max(1, epochs // 9), factor=3, random_state=seed,
                                 **common)


def search_with_optuna(model, spaces, n_candidates, cv, jobs, seed, X, y):
    """Optuna's tree-structured Parzen estimator: a table as scikit-learn's, and the model with the best settings."""
    try:
        import optuna
    except ImportError:
        raise SystemExit("--method optuna needs Optuna: pip install 'fmnist_sk[optuna]'") from None

    def candidate(trial):
        index = trial.suggest_categorical("family", list(range(len(spaces)))) if len(spaces) > 1 else 0
        params = {}
        for name, values in spaces[index].items():
            if isinstance(values, tuple):
                params[name] = trial.suggest_float(name, *values, log=True)
            else:                                    # Optuna's choices are numbers and texts: these stand for others
                params[name] = values[trial.suggest_categorical(f"{name} of {index}", list(range(len(values))))]
        trial.set_user_attr("params", {name: text_of(value) for name, value in params.items()})
        return params

    def score(trial):
        start = time.perf_counter()
        scores = cross_val_score(clone(model).set_params(**clone(candidate(trial), safe=False)), X, y, cv=cv,
                                 n_jobs=jobs)
        trial.set_user_attr("seconds", (time.perf_counter() - start) / len(scores))
        trial.set_user_attr("std", float(scores.std()))
        return scores.mean()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(score, n_trials=n_candidates, show_progress_bar=True)
    table = pd.DataFrame([{**{f"param_{name}": value for name, value in trial.user_attrs["params"].items()},
                           "mean_test_score": trial.value, "std_test_score": trial.user_attrs["std"],
                           "mean_fit_time": trial.user_attrs["seconds"]} for trial in study.trials])
    return table, clone(model).set_params(**clone(candidate(study.best_trial), safe=False)).fit(X, y)


def text_of(value):
    """Numbers as they are, estimators by their names, nothing for what a candidate does not have."""
    if isinstance(value, BaseEstimator):
        return type(value).__name__.removesuffix("Classifier")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (int, float)):
        return "" if value != value else value
    return "" if value is None else str(value)


def ranking(results):
    """The settings that were varied with their accuracy, the best first; of halving, each candidate's last round."""
    table = pd.DataFrame(results)
    if "iter" in table:
        table = table.assign(settings=table["params"].astype(str).str.replace(r"'(net__)?max_epochs': \d+", "",
                                                                              regex=True))
        table = table.sort_values("iter", kind="stable").drop_duplicates("settings", keep="last")
        table = table.sort_values(["iter", "mean_test_score"], ascending=False, kind="stable")
        table = table.drop(columns=[name for name in table if name.endswith("max_epochs")]).assign(
            param_max_epochs=table["n_resources"])
    else:
        table = table.sort_values("mean_test_score", ascending=False, kind="stable")
    names = [name for name in table if name.startswith("param_") and not name.endswith("schedule_epochs")]
    texts = table[names].map(text_of)
    texts = texts.loc[:, texts.astype(str).nunique() > 1]
    texts.columns = [name.removeprefix("param_").removeprefix("net__") for name in texts]
    return texts.assign(accuracy=table["mean_test_score"], deviation=table["std_test_score"],
                        seconds=table["mean_fit_time"]).reset_index(drop=True)


def shorter(names):
    """Texts of a picture: without what all begin with, in lines of some 24 characters."""
    parts = list(zip(*(name.split("-") for name in names), strict=False))
    n_shared = next((i for i, part in enumerate(parts) if len(set(part)) > 1), 0)
    cut = sum(len(part[0]) + 1 for part in parts[:n_shared])
    return [textwrap.fill(("…" if cut else "") + name[cut:], 24) for name in names]


def positions(values):
    """Where values stand on an axis from 0 to 1, and the axis' ticks with their texts."""
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
    """Candidates with the same value side by side, in the order of their accuracy."""
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
            axis.plot(line, color=plt.cm.viridis_r(scale(max(accuracy, low))), linewidth=1.2 + 1.8 * (accuracy == best))
        for i, name in enumerate(names):
            axis.axvline(i, color="black", linewidth=0.8)
            for place, text in placed[name][1]:
                axis.annotate(text, (i, place), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                              bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5})
        axis.set(xticks=range(len(names)), xticklabels=names, yticks=[], xlim=(-0.1, len(names) - 0.6),
                 title="Every candidate: its settings, and its validation accuracy (the best is the thickest line)")
        for side in ("left", "right", "top", "bottom"):
            axis.spines[side].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=SPACES, default="report_1", help="what to vary (default: report_1)")
    parser.add_argument("--method", choices=["grid", "random", "halving", "optuna"], default="random",
                        help="how to choose candidates (default: random)")
    parser.add_argument("--candidates", type=int, default=12, help="how many, but for the grid (default: 12)")
    parser.add_argument("--images", type=int, default=10_000, help="training images to use (default: 10,000)")
    parser.add_argument("--folds", type=int, default=1, help="folds of the cross-validation; 1: one split, a fifth "
                        "held out (default: 1)")
    parser.add_argument("--epochs", type=int, default=9, help="epochs of a whole fit, where the space does not say "
                        "(default: 9)")
    parser.add_argument("--jobs", type=int, default=1, help="candidates at a time, in processes (default: 1)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--data-home", help="folder to look for the Fashion-MNIST files in first")
    parser.add_argument("--output", type=Path, default=Path("output/search"), help="folder to write to")
    args = parser.parse_args()
    train, test = prepare(parser, args, candidates=1, folds=1, epochs=1, images=100, jobs=1, seed=0)
    rows = np.sort(np.random.default_rng(args.seed).permutation(len(train.images))[:args.images])
    X, y = train.images[rows], train.target[rows]
    check_folds(parser, "folds", args.folds, y)
    cv = StratifiedShuffleSplit(1, test_size=0.2, random_state=args.seed) if args.folds == 1 else \
        StratifiedKFold(args.folds, shuffle=True, random_state=args.seed)

    def prepared(net):
        return net.set_params(max_epochs=args.epochs, random_state=args.seed, device=args.device,
                              checkpoint=args.output / "fits", keep_checkpoint=True)

    model, spaces = SPACES[args.space]
    prepared(model[-1] if isinstance(model, Pipeline) else model)
    for space in spaces:
        for net in space.get("net", []):
            prepared(net)
    start = time.perf_counter()
    try:
        if args.method == "optuna":
            results, best = search_with_optuna(model, spaces, args.candidates, cv, args.jobs, args.seed, X, y)
        else:
            search = search_with(args.method, model, spaces, args.candidates, cv, args.epochs, args.jobs, args.seed)
            results, best = search.fit(X, y).cv_results_, search.best_estimator_
    except KeyboardInterrupt:
        raise SystemExit(f"\ninterrupted; the same command goes on with what is in {args.output / 'fits'}") from None
    table = ranking(results)
    table.to_csv(args.output / "ranking.csv", index_label="rank")
    draw(table, args.output / "search.png")
    (best[-1] if isinstance(best, Pipeline) else best).set_params(checkpoint=None, keep_checkpoint=False)
    fmnist_sk.save(best, args.output / "best.safetensors")
    print(f"\n{len(table)} candidates in {time.perf_counter() - start:.0f} s, the best first:")
    print(table.head(10).to_string(float_format=lambda value: f"{value:.4g}"))
    print(f"\nthe best, trained on all {len(X):,} images: test accuracy {best.score(test.images, test.target):.4f}")
    print("\n".join(f"wrote {args.output / name}" for name in ("ranking.csv", "search.png", "best.safetensors")))


if __name__ == "__main__":
    main()
