"""The small network that comes with the package: candidates on held-out images, then the training of the best.

    python examples/benchmarks/pretrained.py --candidates    # 54,000 training images, accuracy on the other 6,000
    python examples/benchmarks/pretrained.py                 # all training images; the test images are read once

Writes results/pretrained.json, anew after every run. The second form also writes the network and its card to
fmnist_sk/pretrained/.
"""
import argparse
import json
import time
from pathlib import Path

import _measure

import fmnist_sk
from fmnist_sk import ResNetClassifier, load_fashion_mnist, recipe

FOLDER = Path(fmnist_sk.__file__).parent / "pretrained"
SMALL = {"width": 16, "stem": "16C3-MP2ceil", "hidden": 0, "pool": 4, "dropout": 0.0}
CANDIDATES = {
    "16 maps, pooled stem, 18 epochs": SMALL,
    "16 maps, pooled stem, 36 epochs, less decay": {**SMALL, "max_epochs": 36, "weight_decay": 2e-4},
}
CHOSEN = "16 maps, pooled stem, 36 epochs, less decay"
CARD = """# {name}

The network of `fmnist_sk.load_pretrained()`: a small residual network that tells ten kinds of clothes apart.

- **Input**: gray images of 28 x 28 pixels, 0 (background) to 255, one garment that fills the frame, bright on black, as
  in Fashion-MNIST. `fmnist_sk.PhotoToFashion` brings photos into this form.
- **Output**: probabilities of {classes}, as
  labels 0 to 9.
- **Network**: `{settings}`, {parameters:,} parameters.
- **Data**: the 60,000 training images of Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, MIT licence), none held out.
- **Recipe**: `recipe("fashion")` with {epochs} epochs, chosen on held-out training images. Trained by
  `examples/benchmarks/pretrained.py` with seed {seed}, fmnist_sk {fmnist_sk}, PyTorch {torch}, revision {git}.
- **Measured**: {accuracy:.2f} % of the 10,000 test images, read once after the last epoch. Of each class: {by_class}.
  Expected calibration error {ece:.3f}: what it gives 90 % is right more often than that, because it was trained with
  label smoothing.

## Limits

It knows these ten kinds and nothing else: of a hat or a cat it says one of the ten, often with confidence. Shirts,
T-shirts, pullovers and coats are hard to tell apart in 28 x 28 gray pixels. It has seen catalogue pictures only: front
views, alone on a plain background, of the clothes of one European shop before 2017. On photos of other kinds it is
less accurate, and how much has not been measured. Nothing about people can or should be read from it.
"""


def classifier_of(name, seed, device):
    return ResNetClassifier(**{**recipe("fashion"), **CANDIDATES[name]}, random_state=seed, device=device, verbose=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="*", choices=CANDIDATES, help="compare these on held-out images "
                        "(default: all)")
    parser.add_argument("--card", action="store_true", help="train nothing, write the card of the network again")
    parser.add_argument("--seed", type=_measure.seed, default=0, help="random seed (default: 0)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, default="pretrained", help="name of the result file")
    args = parser.parse_args()
    path = _measure.RESULTS / f"{args.name}.json"
    content = json.loads(path.read_text()) if path.exists() else {"candidates": [], "chosen": None}
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

    start = time.perf_counter()
    if args.card:
        classifier, where = fmnist_sk.load_pretrained(), {name: content["chosen"][name] for name in where}
    else:
        classifier = classifier_of(CHOSEN, args.seed, args.device).fit(train.images, train.target)
    seconds = content["chosen"]["fit_seconds"] if args.card else time.perf_counter() - start
    test = load_fashion_mnist("test")
    proba = classifier.predict_proba(test.images)
    right = proba.argmax(1) == test.target
    ece = fmnist_sk.ReliabilityDisplay.from_predictions(test.target, proba, classes=classifier.classes_).ece_
    by_class = {name: float(right[test.target == code].mean()) for code, name in enumerate(test.target_names)}
    parameters = sum(p.numel() for p in classifier.module_.parameters())
    content["chosen"] = {"name": CHOSEN, "seed": args.seed, "epochs": classifier.max_epochs, "parameters": parameters,
                         "test_accuracy": float(right.mean()), "test_accuracy_of_each_class": by_class,
                         "calibration_error": ece, "fit_seconds": seconds, **where}
    FOLDER.mkdir(exist_ok=True)
    classifier.set_params(verbose=0, device=None)
    if not args.card:
        fmnist_sk.save(classifier, FOLDER / "small_resnet.safetensors")
    versions = _measure.environment()
    (FOLDER / "README.md").write_text(CARD.format(
        name="small_resnet", classes=", ".join(test.target_names), settings=classifier, parameters=parameters,
        epochs=classifier.max_epochs, seed=args.seed, fmnist_sk=versions["fmnist_sk"], torch=versions["torch"],
        git=where["git"][:7], ece=ece, accuracy=100 * right.mean(),
        by_class=", ".join(f"{name} {100 * value:.1f}" for name, value in by_class.items())))
    _measure.write(args.name, content)
    print(f"test accuracy {right.mean():.4f}; wrote {FOLDER} and {path}")


if __name__ == "__main__":
    main()
