"""Look for errors in a data set: duplicates, training images that leak into the test set, labels that look wrong.

    python examples/audit_dataset.py [--folder pictures --size 64 --color rgb]

- Finds equal and nearly equal images, also mirrored ones, within and between training and test images.
- Trains networks on folds of all images, to find labels that cross-validated probabilities contradict.
- Reports the accuracy on the test set with its confidence interval, and the accuracy on those test images that have no
  copy among the training images.

Writes to output/audit: audit.json, duplicates.csv, label_errors.csv and galleries of both. Takes about twenty minutes
on two CPU cores, most of it for training; `--folds 0` skips that.
"""
import argparse
import json

import numpy as np
import pandas as pd
from _data import add_data_options, is_test_of, load_data, to_show
from _models import MODEL_HELP, labels_for, load_model
from _output import add_output, place_for
from scipy.stats import binomtest
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors

from fmnist_sk import ResNetClassifier

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This script draws pictures with matplotlib: pip install 'fmnist_sk[plot]'") from None
plt.rcParams["text.parse_math"] = False         # a "$" in a name begins no formula

WRITTEN = "audit.json", "duplicates.csv", "duplicates.png", "label_errors.csv", "label_errors.png"


def find_duplicates(X, is_test, threshold, neighbours=5):
    """Pairs of images whose pixels differ by at most `threshold` (root mean square, of 255): a row for each pair.

    Candidates are the nearest neighbours of every image, and of its mirror image, among 64 principal components.
    """
    flat = X.reshape(len(X), -1)
    part = flat[::max(1, len(flat) // 14_000)]
    solver = "covariance_eigh" if flat.shape[1] <= 1_000 else "randomized"         # the first is cubic in the pixels
    reduce = PCA(min(64, *part.shape), svd_solver=solver, random_state=0).fit(part.astype(np.float32))
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(
        reduce.transform(flat.astype(np.float32)).astype(np.float32))
    rows = []
    for mirrored in (False, True):
        queries = X[..., ::-1].reshape(len(X), -1) if mirrored else flat
        _, found = search.kneighbors(reduce.transform(queries.astype(np.float32)).astype(np.float32))
        for column in found.T:
            first, second = np.arange(len(X)), column
            if not mirrored:
                first, second = first[first != second], second[first != second]
            for part in np.array_split(np.arange(len(first)), 20):
                difference = queries[first[part]].astype(np.float32) - flat[second[part]]
                distance = np.sqrt((difference**2).mean(1))
                near = distance <= threshold
                rows.append(pd.DataFrame({"first": np.minimum(first[part], second[part])[near], "distance":
                                          distance[near], "second": np.maximum(first[part], second[part])[near],
                                          "mirrored": mirrored}))
    # Groups of more equal images than neighbours are looked at: each with the first of its group.
    groups = pd.DataFrame({"hash": [hash(image.tobytes()) for image in X]}).groupby("hash").indices
    for group in groups.values():
        if len(group) > 1 and (X[group] == X[group[0]]).all():
            rows.append(pd.DataFrame({"first": group[0], "distance": 0.0, "second": group[1:], "mirrored": False}))
    pairs = pd.concat(rows).query("first != second").sort_values(["distance", "mirrored", "first"])
    pairs = pairs.drop_duplicates(["first", "second"]).reset_index(drop=True)
    sides = is_test[pairs["first"]].astype(int) + is_test[pairs["second"]]
    pairs["where"] = np.array(["within train", "between train and test", "within test"])[sides]
    return pairs[["first", "second", "where", "mirrored", "distance"]]


def find_label_errors(y, proba):
    """Images that networks confidently assign to another class without having seen them, the worst first.

    Confident learning (Northcutt et al., 2021, https://arxiv.org/abs/1911.00068): a label is suspect if another class
    is as probable for the image as on average for the images with that class's label.
    """
    usual = np.array([proba[y == code, code].mean() for code in range(proba.shape[1])])
    sure = np.where(proba >= usual, proba, 0.0)
    guess = sure.argmax(1)
    rows = np.flatnonzero((sure.max(1) > 0) & (guess != y))
    table = pd.DataFrame({"image": rows, "label": y[rows], "guess": guess[rows], "p_label": proba[rows, y[rows]],
                          "p_guess": proba[rows, guess[rows]]})
    return table.sort_values("p_label", kind="stable").reset_index(drop=True)


def draw_gallery(groups, columns, path, heading):
    """A figure of groups of images with a title above each group; `groups` is a list of (images, title)."""
    wide = max(len(images) for images, _ in groups)
    lines = -(-len(groups) // columns)
    figure = plt.figure(figsize=(columns * (1.25 * wide + 0.3), lines * 1.85 + 0.6), layout="constrained")
    figure.suptitle(heading)
    parts = np.ravel(figure.subfigures(lines, columns, squeeze=False))
    for part, (images, title) in zip(parts, groups, strict=False):
        for axis, image in zip(part.subplots(1, wide), images, strict=True) if wide > 1 else [
                (part.subplots(), images[0])]:
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
        part.suptitle(title, fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def accuracy_of(right):
    """Share of True in `right` (n,), with its 95 % confidence interval (Wilson, 1927)."""
    n_right, n = int(right.sum()), len(right)
    return {"accuracy": n_right / n, "n": n, "interval_95": binomtest(n_right, n).proportion_ci(method="wilson")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threshold", type=float, default=8.0, help="largest difference between nearly equal images: "
                        "root mean square over the pixels, out of 255 (default: 8)")
    parser.add_argument("--folds", type=int, default=3, help="cross-validation folds for finding label errors; 0 "
                        "skips this (default: 3)")
    parser.add_argument("--epochs", type=int, help="epochs for each fold (default: the classifier's own)")
    parser.add_argument("--images", type=int, metavar="N", help="audit only N random images")
    parser.add_argument("--model", help="model whose test accuracy to report: " + MODEL_HELP +
                        " (default: pretrained for Fashion-MNIST, else none)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    add_data_options(parser)
    add_output(parser, "output/audit")
    args = parser.parse_args()
    try:
        if args.folds == 1 or not 0 <= args.folds <= 20 or not args.threshold >= 0 or not (
                args.images is None or args.images >= 100) or not (args.epochs is None or args.epochs >= 1):
            raise ValueError("--folds must be 0 or from 2 to 20, --threshold at least 0, --images at least 100, and "
                             "--epochs at least 1")
        source = {"data_home": args.data_home, "folder": args.folder, "csv": args.csv, "size": args.size,
                  "color": args.color}
        data = load_data("all", **source)
        classifier = ResNetClassifier(augment="fashion", random_state=args.seed, device=args.device)
        classifier.initialize()                                 # ValueError for a device that is not here
        name = args.model or (None if args.folder or args.csv else "pretrained")
        model = name and load_model(name, data.images[0])
        y_model = data.codes if model is None else labels_for(model, data, name)
        args.output = place_for(args, "output/audit", WRITTEN)
        args.output.mkdir(parents=True, exist_ok=True)
        for file in WRITTEN:
            (args.output / file).unlink(missing_ok=True)
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    X, y, names, where, is_test = data.images, data.codes, np.array(data.names), data.where, is_test_of(data, **source)
    if args.images:
        rows = np.sort(np.random.default_rng(args.seed).choice(len(X), min(args.images, len(X)), replace=False))
        X, y, y_model, where, is_test = X[rows], y[rows], y_model[rows], where[rows], is_test[rows]
    shown = to_show(X)

    pairs = find_duplicates(X, is_test, args.threshold)
    pairs["labels differ"] = y[pairs["first"]] != y[pairs["second"]]
    summary = {}
    print(f"{len(X):,} images; pairs of images that are equal, or differ by at most {args.threshold:g} out of 255:")
    for place in ("within train", "between train and test", "within test"):
        here = pairs[pairs["where"] == place]
        equal = here[here["distance"] == 0]
        summary[place] = {"equal": len(equal), "equal, other label": int(equal["labels differ"].sum()),
                          "near": len(here) - len(equal), "near, other label": int(
                              here["labels differ"].sum() - equal["labels differ"].sum()),
                          "mirrored": int(here["mirrored"].sum())}
        print(f"  {place:23s}" + ", ".join(f"{name}: {count}" for name, count in summary[place].items()))
    table = pairs.assign(first=[where[i] for i in pairs["first"]], second=[where[i] for i in pairs["second"]])
    table.to_csv(args.output / "duplicates.csv", index=False)
    order = pairs.sort_values(["labels differ", "where"], ascending=[False, True], kind="stable")
    if len(order):
        draw_gallery([((shown[row["first"]], shown[row["second"]]), f"{where[row['first']]}: {names[y[row['first']]]}\n"
                       f"{where[row['second']]}: {names[y[row['second']]]}\n{row['distance']:.1f}"
                       + ", one mirrored" * row["mirrored"]) for row in order.head(40).to_dict("records")],
                     5, args.output / "duplicates.png", f"{min(40, len(order))} of {len(order):,} pairs of equal or "
                     "nearly equal images, pairs with different labels first. Above each pair: place and label of "
                     "both, and their difference (out of 255)")

    content = {"images": len(X), "threshold": args.threshold, "duplicates": summary}
    if args.folds:
        print(f"\ntraining {args.folds} networks, each on all folds but one, to predict the images of that fold")
        if args.epochs:
            classifier.set_params(max_epochs=args.epochs)
        folds = StratifiedKFold(args.folds, shuffle=True, random_state=args.seed)
        proba = cross_val_predict(classifier, X, y, cv=folds, method="predict_proba")
        errors = find_label_errors(y, proba)
        content["label_errors"] = {"suspect": len(errors), "cross_validated_accuracy": float(
            np.mean(proba.argmax(1) == y)), "pairs": {f"{names[a]} labelled, {names[b]} guessed": int(count) for
                                                      (a, b), count in errors.groupby(["label", "guess"]).size()
                                                      .sort_values(ascending=False).head(8).items()}}
        accuracy = content["label_errors"]["cross_validated_accuracy"]
        if accuracy < 0.9:
            print(f"  caution: the networks classify only {accuracy:.0%} of the images correctly, so many suspects are "
                  "errors of the networks and not of the labels")
        print(f"  accuracy {accuracy:.4f}; {len(errors)} labels are suspect "
              f"({len(errors) / len(y):.2%}): " + ", ".join(
                  f"{name} {count}" for name, count in content["label_errors"]["pairs"].items()))
        errors.assign(image=[where[i] for i in errors["image"]], label=names[errors["label"]],
                      guess=names[errors["guess"]]).to_csv(args.output / "label_errors.csv", index=False)
        if len(errors):
            draw_gallery([((shown[row["image"]],), f"{where[row['image']]}\n{names[row['label']]}: "
                           f"{row['p_label']:.1%}\n{names[row['guess']]}: {row['p_guess']:.1%}")
                          for row in errors.head(60).to_dict("records")], 10, args.output / "label_errors.png",
                         f"{min(60, len(errors))} of {len(errors):,} suspect labels. Above each image: its place, its "
                         "label, and the prediction of a network that has not seen it, with their probabilities")

    if model is not None and is_test.any():
        right = model.predict(X[is_test]) == y_model[is_test]
        leaked = pairs.loc[pairs["where"] == "between train and test", ["first", "second"]].to_numpy()
        clean = ~np.isin(np.flatnonzero(is_test), leaked)
        content["test_accuracy"] = {"model": name, "all": accuracy_of(right),
                                    "without copies in train": accuracy_of(right[clean])}
        print(f"\ntest accuracy of {name}:")
        for which, found in list(content["test_accuracy"].items())[1:]:
            low, high = found["interval_95"]
            print(f"  {which:25s}{found['accuracy']:.4f} of {found['n']:,} (95 % interval {low:.4f} to {high:.4f})")
    (args.output / "audit.json").write_text(json.dumps(content, indent=1) + "\n")
    print("\n".join(f"wrote {args.output / name}" for name in WRITTEN if (args.output / name).exists()))


if __name__ == "__main__":
    main()
