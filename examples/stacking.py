"""Ensembles of different models: averaging, voting and stacking, with confidence intervals.

    python examples/stacking.py                                 # hours on two CPU cores
    python examples/stacking.py --images 3000 --epochs 2        # minutes
    python examples/stacking.py --folder pictures --size 64 --color rgb

Members are four networks of different kinds and a support vector machine on histograms of gradients. The stacking
trains each of them --cv times for its cross-validation and once more on all training images. Averages, voting and a
second stacking (cv="prefit", whose meta-learner learns from the validation images) use these trained members. The
probabilities of the support vector machine are the softmax of its margins.

The table lists, for every member and combination, the accuracy on validation and test images, and the calibration error
before and after temperature scaling. Writes ensemble.json and comparison.png to output/stacking. Needs
pip install 'fmnist_sk[hog,plot]'.
"""
import argparse
import json
import time

import numpy as np
import pandas as pd
from _data import add_data_options
from _options import check_folds, check_validation_images, prepare
from _output import add_output
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from fmnist_sk import (
    ComparisonDisplay,
    ConvNetClassifier,
    HOGTransformer,
    InceptionClassifier,
    MLPMixerClassifier,
    ReliabilityDisplay,
    ResNetClassifier,
)

try:
    import matplotlib.pyplot as plt
    import skimage  # noqa: F401
except ImportError as error:
    raise SystemExit(f"This script needs {error.name}: pip install 'fmnist_sk[hog,plot]'") from None

HARD, AVERAGE, ALL, PREFIT = "hard voting", "average of the networks", "soft voting of all", "stacking, prefit"


WRITTEN = "ensemble.json", "comparison.png"


def members(epochs, seed, device):
    common = {"augment": "fashion", "random_state": seed, "device": device, "verbose": 0}
    nets = {
        "ConvNet": ConvNetClassifier(architecture="32C3-32C3-MP2-64C3-64C3-MP2-256N", dropout=0.3, lr=2e-3,
                                     schedule="one_cycle", label_smoothing=0.1, **common),
        "ResNet": ResNetClassifier(**common),
        "Inception": InceptionClassifier(**common),
        "Mixer": MLPMixerClassifier(**common),
    }
    for net in nets.values():
        net.set_params(**({"max_epochs": epochs} if epochs else {}))
    return {**nets, "HOG + SVC": make_pipeline(HOGTransformer(), SVC(C=10))}


class AsGiven(ClassifierMixin, BaseEstimator):
    """A classifier that takes probabilities and returns them unchanged: to calibrate earlier predictions."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[X.argmax(1)]

    def predict_proba(self, X):
        return X


def meta_learner():
    return LogisticRegression(max_iter=1000, C=0.1)


def combinations(stack, prefit, columns):
    """For each member and combination its probabilities (n, n_classes) for the images.

    `columns` are the members' outputs side by side, as `stack` gives them to its meta-learner: n_classes of each, or
    for two classes only that of the second.
    """
    found = {}
    for name, method, outputs in zip(stack.named_estimators, stack.stack_method_,
                                     np.split(columns.astype(np.float64), len(stack.estimators_), axis=1), strict=True):
        is_proba = method == "predict_proba"
        if outputs.shape[1] == 1:
            outputs = np.hstack([1 - outputs if is_proba else -outputs, outputs])
        found[name] = outputs / outputs.sum(1, keepdims=True) if is_proba else softmax(outputs, axis=1)
    everyone = np.stack(list(found.values()))
    nets = np.array(stack.stack_method_) == "predict_proba"
    return {**found,
            HARD: np.eye(len(stack.classes_))[everyone.argmax(2)].mean(0),           # shares of the votes
            AVERAGE: everyone[nets].mean(0),
            ALL: everyone.mean(0),                                  # what VotingClassifier(voting="soft") gives
            f"stacking, cv={stack.cv.n_splits}": stack.final_estimator_.predict_proba(columns),
            PREFIT: prefit.final_estimator_.predict_proba(columns)}


def calibration_error(y, proba):
    display = ReliabilityDisplay.from_predictions(y, proba, classes=np.arange(proba.shape[1]))
    plt.close(display.figure_)
    return display.ece_


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="training images, a tenth of them for validation (default: all)")
    parser.add_argument("--epochs", type=int, help="epochs of the networks (default: each network's own)")
    parser.add_argument("--cv", type=int, default=3, help="folds of the stacking (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="members and folds to train at a time, in processes "
                        "(default: 1)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    add_data_options(parser)
    add_output(parser, "output/stacking")
    args = parser.parse_args()
    train, test = prepare(parser, args, "output/stacking", WRITTEN, images=100, epochs=1, cv=2, jobs=1, seed=0)
    rows = np.random.default_rng(args.seed).permutation(len(train.images))[:args.images]
    check_validation_images(parser, train.codes[rows])
    X, X_valid, y, y_valid = train_test_split(train.images[rows], train.codes[rows], test_size=0.1,
                                              stratify=train.codes[rows], random_state=args.seed)
    check_folds(parser, "cv", args.cv, y)

    start = time.perf_counter()
    stack = StackingClassifier(
        list(members(args.epochs, args.seed, args.device).items()), meta_learner(),
        cv=StratifiedKFold(args.cv, shuffle=True, random_state=args.seed), n_jobs=args.jobs, verbose=1)
    stack.fit(X, y)
    seconds = time.perf_counter() - start
    print(f"trained {len(stack.estimators_)} members, {args.cv + 1} times each, in {seconds:.0f} s", flush=True)

    trained = [(name, FrozenEstimator(model)) for name, model in zip(stack.named_estimators, stack.estimators_,
                                                                     strict=True)]
    prefit = StackingClassifier(trained, meta_learner(), cv="prefit").fit(X_valid, y_valid)
    # Every member predicts once, whatever is made of it.
    valid, tested = (combinations(stack, prefit, stack.transform(images)) for images in (X_valid, test.images))
    table, predicted = [], {}
    for name, proba in tested.items():
        row, predicted[name] = {"name": name, "member": name in stack.named_estimators}, proba.argmax(1)
        for part, guess, labels in (("valid", valid[name].argmax(1), y_valid), ("test", predicted[name], test.codes)):
            if part == "test" or name != PREFIT:                    # which has learned from the validation images
                right = int((guess == labels).sum())
                row |= {f"{part}_accuracy": right / len(labels),
                        f"{part}_interval": binomtest(right, len(labels)).proportion_ci(method="wilson")}
        if name != HARD:
            given = FrozenEstimator(AsGiven().fit(valid[name], y_valid))
            warm = CalibratedClassifierCV(given, method="temperature", cv=2).fit(valid[name], y_valid)
            for suffix, shown in (("", proba), ("_after", warm.predict_proba(proba))):
                row |= {f"calibration_error{suffix}": calibration_error(test.codes, shown),
                        f"log_loss{suffix}": log_loss(test.codes, shown, labels=np.arange(shown.shape[1]))}
        table.append(row)
    best = max((row for row in table if row["member"]), key=lambda row: row["valid_accuracy"])
    for row in table:
        gain = (predicted[row["name"]] == test.codes).astype(int) - (predicted[best["name"]] == test.codes)
        spread = 1.96 * gain.std() / len(gain) ** 0.5
        row["gain"], row["gain_interval"] = gain.mean(), (gain.mean() - spread, gain.mean() + spread)
    content = {"images": args.images, "epochs": args.epochs, "cv": args.cv, "seed": args.seed,
               "device": str(stack.estimators_[0].device_), "seconds": seconds, "best_member": best["name"],
               "rows": table}
    (args.output / "ensemble.json").write_text(json.dumps(content, indent=1) + "\n")
    shown = pd.DataFrame([{
        "": row["name"], "validation": row.get("valid_accuracy", np.nan), "test": row["test_accuracy"],
        "95 % interval": f"{row['test_interval'][0]:.4f} to {row['test_interval'][1]:.4f}",
        f"gain over {best['name']}": f"{row['gain']:+.4f}", "calibration error": row.get("calibration_error", np.nan),
        "with temperature": row.get("calibration_error_after", np.nan)} for row in table])
    print("\n" + shown.to_string(index=False, float_format="{:.4f}".format, na_rep="-"))
    ComparisonDisplay.from_predictions(test.codes, predicted, class_names=test.names).figure_.savefig(
        args.output / "comparison.png", dpi=110)
    print("\n".join(f"wrote {args.output / name}" for name in ("ensemble.json", "comparison.png")))


if __name__ == "__main__":
    main()
