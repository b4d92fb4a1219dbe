"""The networks that come with the package: compare candidates on held-out images, then train the best.

    python examples/benchmarks/pretrained.py --candidates    # 54,000 training images, accuracy on the other 6,000
    python examples/benchmarks/pretrained.py            # all training images; the test images are read once
    python examples/benchmarks/pretrained.py --network accurate      # the second one, which accuracy.py has chosen

Writes results/pretrained.json after every run. The second and third forms also write the network and the cards of both
to fmnist_sk/pretrained/. An interrupted training resumes.
"""
import argparse
import json
from pathlib import Path

import _measure
from accuracy import GOALS, chosen
from sklearn.base import clone

import fmnist_sk
from fmnist_sk import ResNetClassifier, load_fashion_mnist, recipe
from fmnist_sk.persistence import PRETRAINED

FOLDER = Path(fmnist_sk.__file__).parent / "pretrained"
SMALL = {"width": 16, "stem": "16C3-MP2ceil", "hidden": 0, "pool": 4, "dropout": 0.0}
CANDIDATES = {
    "16 maps, pooled stem, 18 epochs": SMALL,
    "16 maps, pooled stem, 36 epochs, less decay": {**SMALL, "max_epochs": 36, "weight_decay": 2e-4},
}
CHOSEN = "16 maps, pooled stem, 36 epochs, less decay"
CARDS = """# The networks of `fmnist_sk.load_pretrained()`

These networks distinguish ten kinds of clothes.

- **Input**: gray images of 28 x 28 pixels from 0 (background) to 255, with one garment that fills the frame, bright on
  black, as in Fashion-MNIST. `fmnist_sk.PhotoToFashion` brings photos into this form.
- **Output**: probabilities of {classes}, as
  labels 0 to 9.
- **Data**: the 60,000 training images of Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, MIT licence), none held out.

{cards}
## Limits

They know these ten kinds and nothing else: even for a hat or a cat they predict one of the ten, often with high
confidence. Shirts, T-shirts, pullovers and coats are hard to tell apart in 28 x 28 gray pixels. The networks have seen
only catalogue pictures: front views of single garments on a plain background, from one European shop before 2017. On
other kinds of photos they are less accurate; by how much has not been measured. Their predictions say nothing about
people, and should not be used to infer anything about them.
"""
CARD = """## `load_pretrained("{name}")`: {file}

- **Network**: `{settings}`, {parameters:,} parameters.
- **Recipe**: {recipe}, {epochs} epochs, chosen on held-out training images. Trained by
  `examples/benchmarks/pretrained.py` with seed {seed}, revision {git:.7}.
- **Measured**: {accuracy:.2f} % of the 10,000 test images, read once after the last epoch. Per class: {by_class}.
  Expected calibration error {calibration_error:.3f}: it is underconfident, because it was trained with label smoothing.
  Predictions with 90 % confidence are right more often than that.
"""
GOAL = "under 300k"         # of accuracy.py
RECIPES = {"small": '`recipe("fashion")`', "accurate": "\"our recipe\" for the reports' networks of this kind"}


def chosen_by_accuracy():
    """The best of accuracy.py's candidates with fewer than 300,000 parameters, on held-out images."""
    tried = _measure.read("accuracy", ["device", "goals"])["goals"][GOAL]["choice"]
    return chosen(GOAL, GOALS["cpu"][GOAL], tried, "accuracy")


def classifier_of(name, seed, device):
    return ResNetClassifier(**{**recipe("fashion"), **CANDIDATES[name]}, random_state=seed, device=device, verbose=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="*", choices=CANDIDATES, help="compare these on held-out images "
                        "(default: all)")
    parser.add_argument("--network", choices=PRETRAINED, default="small", help="network to train (default: small)")
    parser.add_argument("--card", action="store_true", help="only write the cards again, without training")
    parser.add_argument("--seed", type=_measure.seed, default=0, help="random seed (default: 0)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, default="pretrained", help="name of the result file")
    args = parser.parse_args()
    path = _measure.RESULTS / f"{args.name}.json"
    content = json.loads(path.read_text()) if path.exists() else {"candidates": []}
    content.pop("environment", None)
    where = _measure.of_a_row()
    train = load_fashion_mnist("train")

    if args.candidates is not None:
        X, X_valid, y, y_valid = _measure.held_out(train)
        for name in args.candidates or CANDIDATES:
            if any((row["name"], row["seed"]) == (name, args.seed) for row in content["candidates"]):
                continue
            classifier = classifier_of(name, args.seed, args.device).fit(X, y)
            content["candidates"].append({
                "name": name, "seed": args.seed, "settings": {key: repr(value) for key, value in
                                                              CANDIDATES[name].items()},
                "epochs": classifier.max_epochs, "valid_acc": classifier.score(X_valid, y_valid),
                "train_acc": classifier.history_[-1, "train_acc"],
                "parameters": sum(p.numel() for p in classifier.module_.parameters()), **where})
            print(f"{name}: {content['candidates'][-1]['valid_acc']:.4f}", flush=True)
            _measure.write(args.name, content)
        return

    if not args.card:
        name = CHOSEN if args.network == "small" else chosen_by_accuracy()
        classifier = classifier_of(name, args.seed, args.device) if args.network == "small" else clone(
            GOALS["cpu"][GOAL].candidates[name]).set_params(random_state=args.seed, device=args.device, verbose=1)
        classifier.set_params(checkpoint=Path("output") / f"pretrained_{args.network}", checkpoint_every=2).fit(
            train.images, train.target)
        test = load_fashion_mnist("test")
        proba = classifier.predict_proba(test.images)
        right = proba.argmax(1) == test.target
        content[args.network] = {
            "name": name, "seed": args.seed, "epochs": classifier.max_epochs,
            "parameters": sum(p.numel() for p in classifier.module_.parameters()), "test_accuracy": float(right.mean()),
            "test_accuracy_of_each_class": {kind: float(right[test.target == code].mean())
                                            for code, kind in enumerate(test.target_names)},
            "calibration_error": fmnist_sk.ReliabilityDisplay.from_predictions(
                test.target, proba, classes=classifier.classes_).ece_,
            "fit_seconds": sum(classifier.history_[:, "dur"]), **where}
        classifier.set_params(verbose=0, device=None, checkpoint=None, checkpoint_every=1)
        fmnist_sk.save(classifier, FOLDER / PRETRAINED[args.network])
        _measure.write(args.name, content)
        print(f"test accuracy {right.mean():.4f}")
    (FOLDER / "README.md").write_text(CARDS.format(classes=", ".join(train.target_names), cards="\n".join(
        card(name, content[name]) for name in PRETRAINED if name in content)))
    print(f"wrote {FOLDER} and {path}")


def card(name, row):
    by_class = ", ".join(f"{kind} {100 * value:.1f}" for kind, value in row["test_accuracy_of_each_class"].items())
    settings = " ".join(repr(fmnist_sk.load_pretrained(name)).split())
    return CARD.format(**{**row, "name": name}, file=PRETRAINED[name], recipe=RECIPES[name], settings=settings,
                       accuracy=100 * row["test_accuracy"], by_class=by_class)


if __name__ == "__main__":
    main()
