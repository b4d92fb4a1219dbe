"""Hyperparameter searches on Fashion-MNIST: those of published reports, and one over the size of networks.

    python examples/hyperparameter_search.py                              # report 1's: learning rate, L2, batch, epochs
    python examples/hyperparameter_search.py --space report_2 --method grid
    python examples/hyperparameter_search.py --space size --method halving
    python examples/hyperparameter_search.py --method optuna              # needs pip install 'fmnist_sk[optuna]'

Trains on some of the training images and ranks candidates by accuracy on others. Writes ranking.csv, search.png and the
best model to output/search. Finished fits are kept in output/search/fits: run again after Ctrl-C or a power cut, the
same command repeats none of them.

A halving search continues training its candidates in each round instead of starting over. Its last round has all
epochs if the numbers of candidates and epochs allow. In any case the best candidate is finally trained for all epochs.
"""
import argparse
import functools
import math
import sys
import time

import numpy as np
import pandas as pd
from _options import check_folds, prepare
from _output import add_output
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    ParameterSampler,
    RandomizedSearchCV,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import Pipeline

import fmnist_sk
from fmnist_sk import ConvNetClassifier, ResNetClassifier, reference_system

try:
    import safetensors  # noqa: F401
    from _search_picture import draw  # which needs matplotlib
except ImportError as error:
    raise SystemExit(f"This script needs {error.name}: pip install 'fmnist_sk[plot,save]'") from None

WRITTEN = "ranking.csv", "search.png", "best.safetensors"
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


def told(names, model, X, y):
    """The accuracy of a candidate, printed with its settings."""
    accuracy, params = model.score(X, y), model.get_params()
    values = {name.removeprefix("net__"): text_of(params[name]) for name in names if name in params}
    settings = ", ".join(f"{name} {f'{value:.3g}' if isinstance(value, float) else value}"
                         for name, value in values.items())
    print(f"{settings}: accuracy {accuracy:.4f}", flush=True)
    return accuracy


def halving_factor(n_candidates, epochs):
    """Of 3, 2 and 4 the factor with which the last round of scikit-learn's halving comes nearest to all epochs."""
    def last_round(factor):
        rounds = math.floor(math.log(n_candidates, factor))
        first = max(1, epochs // factor**rounds)
        return first * factor**min(rounds, math.floor(math.log(epochs // first, factor)))

    return max((3, 2, 4), key=last_round)


def search_with(method, model, spaces, n_candidates, cv, epochs, jobs, seed):
    """A search of scikit-learn. The best candidate is left to be trained."""
    prefix = "net__" if isinstance(model, Pipeline) else ""
    names = dict.fromkeys([*(name for space in spaces for name in space), f"{prefix}max_epochs"])
    common = {"cv": cv, "n_jobs": jobs, "verbose": 1, "refit": False, "scoring": functools.partial(told, list(names))}
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
    n_drawn = len(list(ParameterSampler(drawn, n_candidates, random_state=seed)))   # fewer, if there are no more
    return HalvingRandomSearchCV(model, drawn, n_candidates=n_candidates, resource=f"{prefix}max_epochs",
                                 max_resources=epochs, min_resources="exhaust", factor=halving_factor(n_drawn, epochs),
                                 return_train_score=False, random_state=seed, **common)


def search_with_optuna(model, spaces, n_candidates, cv, jobs, seed, X, y):
    """Optuna's tree-structured Parzen estimator: a table as scikit-learn's, and the best settings."""
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
    study.optimize(score, n_trials=n_candidates, show_progress_bar=sys.stderr.isatty())
    table = pd.DataFrame([{**{f"param_{name}": value for name, value in trial.user_attrs["params"].items()},
                           "mean_test_score": trial.value, "std_test_score": trial.user_attrs["std"],
                           "mean_fit_time": trial.user_attrs["seconds"]} for trial in study.trials])
    return table, candidate(study.best_trial)


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=SPACES, default="report_1", help="what to vary (default: report_1)")
    parser.add_argument("--method", choices=["grid", "random", "halving", "optuna"], default="random",
                        help="how to choose candidates (default: random)")
    parser.add_argument("--candidates", type=int, default=12, help="number of candidates, except with grid "
                        "(default: 12)")
    parser.add_argument("--images", type=int, default=10_000, help="training images to use (default: 10,000)")
    parser.add_argument("--folds", type=int, default=1, help="folds of the cross-validation; 1: a single split that "
                        "holds out a fifth (default: 1)")
    parser.add_argument("--epochs", type=int, default=9, help="epochs of a whole fit, unless the space varies them "
                        "(default: 9)")
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time, in processes: any candidates and folds; "
                        "with optuna only the folds of one candidate, because the next candidate depends on it "
                        "(default: 1)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--data-home", help="folder to search first for the Fashion-MNIST files")
    add_output(parser, "output/search")
    args = parser.parse_args()
    train, test = prepare(parser, args, "output/search", WRITTEN, candidates=1, folds=1, epochs=1, images=100,
                          jobs=1, seed=0)
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
            results, params = search_with_optuna(model, spaces, args.candidates, cv, args.jobs, args.seed, X, y)
        else:
            search = search_with(args.method, model, spaces, args.candidates, cv, args.epochs, args.jobs, args.seed)
            results, params = search.fit(X, y).cv_results_, search.best_params_
        if args.method == "halving":                 # the last round may have been shorter
            params = {**params, search.resource: args.epochs}
        best = clone(model).set_params(**clone(params, safe=False)).fit(X, y)
    except KeyboardInterrupt:
        raise SystemExit(f"\ninterrupted; the same command continues with the fits in {args.output / 'fits'}") from None
    table = ranking(results)
    table.to_csv(args.output / "ranking.csv", index_label="rank")
    draw(table, args.output / "search.png")
    net = best[-1] if isinstance(best, Pipeline) else best
    net.set_params(checkpoint=None, keep_checkpoint=False)
    fmnist_sk.save(best, args.output / "best.safetensors")
    print(f"\n{len(table)} candidate{'s' * (len(table) > 1)} in {time.perf_counter() - start:.0f} s, the best first:")
    print(table.head(10).to_string(float_format=lambda value: f"{value:.4g}"))
    print(f"\nthe best, trained on all {len(X):,} images for {net.n_iter_} epoch{'s' * (net.n_iter_ > 1)}: test "
          f"accuracy {best.score(test.images, test.target):.4f}")
    print("\n".join(f"wrote {args.output / name}" for name in WRITTEN))


if __name__ == "__main__":
    main()
