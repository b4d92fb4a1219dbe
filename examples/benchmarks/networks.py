"""Every network for one epoch on 10,000 images: does it learn, and what does it cost?

    python examples/benchmarks/networks.py                       # all, results kept as they come
    python examples/benchmarks/networks.py --only cnn_1 WRN-40-4

Trains each network on the same 10,000 training images of Fashion-MNIST with its own recipe, but for a single epoch in
batches of 32, and measures the accuracy on 10,000 other training images. Reference systems are trained with
cross-entropy, a constant learning rate and no augmentation. Inception v3 is trained from scratch, without ImageNet's
weights, on images enlarged to 75 x 75. The test images are not used.

Writes results/networks.json with a row for each network; networks with the same settings are measured once. Rows of
the same settings are kept, so an interrupted run resumes where it stopped; --afresh measures all again.
"""
import argparse
import inspect
import json
import time

import _measure
from sklearn.base import clone
from sklearn.model_selection import train_test_split

import fmnist_sk
from fmnist_sk import (
    InceptionV3Classifier,
    ResNetClassifier,
    WideResNetClassifier,
    load_fashion_mnist,
    reference_system,
    reference_systems,
    summary,
)

N_TRAIN = N_HELD_OUT = 10_000
BATCH_SIZE = 32
VARIANTS = {
    "ResNetClassifier, bottleneck": ResNetClassifier(block="bottleneck"),
    "ResNetClassifier, preactivation": ResNetClassifier(block="preactivation"),
    "WRN-40-4": WideResNetClassifier(depth=40, widen_factor=4),
}


def networks():
    """Name -> (classifier, where it comes from): the registry's estimators, every reference system, variants."""
    found = {}
    for name in fmnist_sk.networks.__all__:
        estimator = getattr(fmnist_sk, name)
        found[name] = estimator(), inspect.getdoc(estimator).splitlines()[0].rstrip(".:")
    for name, system in reference_systems().items():
        plain = {"augment": None, "criterion": "cross_entropy", "schedule": "constant"}
        found[name] = reference_system(name, **(plain if name != "inception_v3" else {})), system.source
    for name, classifier in VARIANTS.items():
        found[name] = clone(classifier), _measure.text_of(classifier)
    for classifier, _ in found.values():
        classifier.set_params(max_epochs=1, batch_size=BATCH_SIZE, validation_fraction=None, random_state=0)
        if isinstance(classifier, InceptionV3Classifier):
            classifier.set_params(weights=None, resize=75)
    return found


def measure(classifier, source, train, held_out, device):
    """One row of the table."""
    layers, settings = summary(classifier), _measure.text_of(classifier)
    classifier.set_params(device=device)
    start = time.perf_counter()
    classifier.fit(*train)
    seconds = time.perf_counter() - start
    return {
        "source": source, "settings": settings, "parameters": int(layers.loc["total", "parameters"]),
        "multiply_adds": int(layers.loc["total", "multiply_adds"]),
        "smallest_image": classifier._minimum_size(), "accuracy": classifier.score(*held_out), "fit_seconds": seconds,
        **_measure.of_a_row(), "device": device,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these networks (again)")
    parser.add_argument("--afresh", action="store_true", help="measure all again")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: networks, or "
                        "networks_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("networks", args.device)
    every = networks()
    if unknown := set(args.only or ()) - set(every):
        parser.error(f"--only must name some of {', '.join(every)}; got {', '.join(unknown)}")

    train = load_fashion_mnist("train")
    X, held_out_X, y, held_out_y = train_test_split(train.images, train.target, train_size=N_TRAIN,
                                                    test_size=N_HELD_OUT, stratify=train.target, random_state=0)
    path = _measure.RESULTS / f"{args.name}.json"
    rows = json.loads(path.read_text())["networks"] if path.exists() else {}
    done = {name for name, row in rows.items() if name in every and row["settings"] == _measure.text_of(every[name][0])}
    todo = args.only or [name for name in every if args.afresh or name not in done]
    done -= set(todo)
    for name in todo:
        classifier, source = every[name]
        same = [rows[other] for other in done if rows[other]["settings"] == _measure.text_of(classifier)]
        done.add(name)
        rows[name] = {**same[0], "source": source} if same else measure(classifier, source, (X, y),
                                                                        (held_out_X, held_out_y), args.device)
        print(f"{name:40} {rows[name]['parameters']:>11,} parameters  accuracy {rows[name]['accuracy']:.4f}  "
              f"{rows[name]['fit_seconds']:7.1f} s", flush=True)
        # In the order of networks(), so that the file does not depend on the order of measuring.
        _measure.write(args.name, {"device": args.device, "n_train": N_TRAIN, "n_held_out": N_HELD_OUT, "epochs": 1,
                                   "batch_size": BATCH_SIZE,
                                   "networks": {name: rows[name] for name in every if name in rows}})
    print(f"wrote {path}: {len(rows)} of {len(every)} networks")


if __name__ == "__main__":
    main()
