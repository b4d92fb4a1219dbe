"""Draw a data set: images of every class, mean images, maps of similar images, and augmentation.

    python examples/visualize_data.py [--model output/quickstart/model.safetensors]
    python examples/visualize_data.py --folder pictures --size 64 --color rgb

Writes pictures to output/data: samples, class means, a t-SNE map and the principal components of the pixels, and
augmented images; with --model (a file, or pretrained) also a t-SNE map of the network's features.
"""
import argparse

import numpy as np
from _data import add_data_options, load_data, to_show
from _models import MODEL_HELP, load_model
from _output import add_output, place_for
from sklearn.pipeline import Pipeline

from fmnist_sk import AugmentationDisplay, EmbeddingDisplay, ImageClassifier

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This script draws pictures with matplotlib: pip install 'fmnist_sk[plot]'") from None
plt.rcParams["text.parse_math"] = False         # a "$" in a name begins no formula


WRITTEN = ("samples.png", "class_means.png", "pixels_tsne.png", "pixels_pca.png", "features_tsne.png",
           "augmentation.png")


def draw_rows(rows, titles):
    """A row of images for each title."""
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=(0.7 * len(rows[0]) + 1.2, 0.72 * len(rows)),
                                layout="constrained", squeeze=False)
    for line, row, title in zip(axes, rows, titles, strict=True):
        for axis, image in zip(line, row, strict=True):
            axis.imshow(image / 255, cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subset", choices=["train", "test", "all"], default="train", help="images to draw "
                        "(default: train)")
    parser.add_argument("--images", type=int, default=3000, metavar="N", help="images in each map (default: 3000)")
    parser.add_argument("--model", metavar="PATH", help=f"network whose features to draw: {MODEL_HELP}")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    add_data_options(parser)
    add_output(parser, "output/data", "folder for the pictures")
    args = parser.parse_args()
    try:
        if args.images < 3 or args.seed < 0:
            raise ValueError(f"--images must be at least 3 and --seed at least 0, got {args.images} and {args.seed}")
        data = load_data(args.subset, data_home=args.data_home, folder=args.folder, csv=args.csv, size=args.size,
                         color=args.color)
        model = args.model and load_model(args.model, data.images[0])
        network = model[-1] if isinstance(model, Pipeline) else model
        if model and not isinstance(network, ImageClassifier):
            raise ValueError(f"--model must hold a network, whose features are drawn, got {type(network).__name__}")
        args.output = place_for(args, "output/data", WRITTEN)
        args.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    X, y, names = data.images, data.codes, data.names
    shown = to_show(X)

    def write(name, figure):
        figure.savefig(args.output / f"{name}.png", dpi=110)
        plt.close(figure)
        print(f"wrote {args.output / f'{name}.png'}")

    rng = np.random.default_rng(args.seed)
    n_shown = min(12, *np.bincount(y))
    chosen = [rng.choice(np.flatnonzero(y == code), n_shown, replace=False) for code in range(len(names))]
    write("samples", draw_rows([shown[rows] for rows in chosen], names))
    means, deviations = (np.stack([getattr(shown[y == code], what)(0) for code in range(len(names))])
                         for what in ("mean", "std"))
    figure = draw_rows([means, deviations], ["mean", "deviation"])
    for axis, name in zip(figure.axes, names, strict=False):
        axis.set_title(name, fontsize=8)
    write("class_means", figure)
    options = {"class_names": names, "max_images": args.images, "random_state": args.seed}
    for method in ("tsne", "pca"):
        write(f"pixels_{method}", EmbeddingDisplay.from_images(X, y, method=method, **options).figure_)
    if model:
        write("features_tsne", EmbeddingDisplay.from_estimator(model, X, y, **options).figure_)
    first = [rows[0] for rows in chosen]
    write("augmentation", AugmentationDisplay.from_augmenters(
        {"original": None, 'augment="fashion"': "fashion", 'augment="strong"': "strong", 'augment="report_2"':
         "report_2"}, X[first], y[first], random_state=args.seed).figure_)
    print(f"{len(X):,} images of {X.shape[-2]} x {X.shape[-1]} pixels, values {X.min()} to {X.max()}, mean "
          f"{X.mean():.1f}, standard deviation {X.std():.1f}; images per class: " + ", ".join(
              f"{name} {np.sum(y == code):,}" for code, name in enumerate(names)))


if __name__ == "__main__":
    main()
