"""What is in these photos? The three most probable garments in each, and what the network saw.

    python examples/classify_photo.py shirt.jpg shoe.png

Each photo should show one garment on a plain background. Prints names and probabilities beside the 28 x 28 image that
the network gets, and writes photos and images side by side to output/photos.png.
"""
import argparse
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from _models import MODEL_HELP, load_model
from _output import add_output, place_for

from fmnist_sk import CLASS_NAMES, PhotoToFashion

try:
    import matplotlib.pyplot as plt
    from matplotlib.backend_bases import FigureCanvasBase
except ImportError:             # it prints its answers all the same
    plt = None

SHADES = " .:-=+*#%@"


def as_text(image):
    """An image (28, 28) as 14 lines of characters, brighter ones denser."""
    pairs = image.reshape(len(image) // 2, 2, -1).mean(1)
    codes = (pairs * (len(SHADES) - 1) / 255).round().astype(int)
    return ["".join(SHADES[code] for code in line) for line in codes]


def check_output(path):
    """Raise OSError or ValueError if no picture can be written to `path`."""
    if path.is_dir():
        raise IsADirectoryError(f"--output must name a file, but {path} is a folder")
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in formats:
        raise ValueError(f"--output must end in one of .{', .'.join(formats)}, got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--output must be in a folder that can be created: {error}") from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"--output must name a file that you may write to, got {path}")


def draw(paths, images, answers, output):
    if plt is None:
        print("no picture was written, because that needs matplotlib: pip install 'fmnist_sk[plot]'")
        return
    from PIL import Image, ImageOps

    plt.rcParams["text.parse_math"] = False         # a "$" in a name begins no formula
    figure, axes = plt.subplots(len(paths), 2, figsize=(6, 2.6 * len(paths)), layout="constrained", squeeze=False)
    for (left, right), path, image, answer in zip(axes, paths, images, answers, strict=True):
        with Image.open(path) as photo:
            photo.draft("RGB", (800, 800))
            photo.thumbnail((400, 400))
            photo = ImageOps.exif_transpose(photo).convert("RGBA")
        left.imshow(photo)
        left.set_title(Path(path).name, fontsize=9)
        right.imshow(image, cmap="gray", vmin=0, vmax=255)
        right.set_title(answer, fontsize=9)
        for axis in (left, right):
            axis.set_axis_off()
    figure.savefig(output, dpi=100)
    print(f"wrote {output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="picture files")
    parser.add_argument("--model", default="pretrained", help=f"{MODEL_HELP} (default: pretrained)")
    parser.add_argument("--background", choices=["auto", "light", "dark"], default="auto", help="background "
                        "of the photos (default: auto, judged by their edges)")
    add_output(parser, "output/photos.png", "the picture to write")
    args = parser.parse_args()
    try:
        if plt is not None:
            plt.switch_backend("agg")
            check_output(args.output or Path("output/photos.png"))
            args.output = place_for(args, "output/photos.png")
        model = load_model(args.model, needs_probabilities=True)
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    read, images, failed = [], [], False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                     # of photos that show nothing, which is said below
        for path in args.photos:
            try:
                images.append(PhotoToFashion(background=args.background).transform([path])[0])
                read.append(path)
            except (OSError, ValueError, ImportError) as error:
                print(f"error: {error}", file=sys.stderr)
                failed = True
        if not read:
            raise SystemExit(2)
        probabilities = model.predict_proba(np.stack(images))
    names = [CLASS_NAMES[label] if isinstance(label, (int, np.integer)) and label in range(10) else str(label)
             for label in model.classes_.tolist()]
    answers = []
    for path, image, row in zip(read, images, probabilities, strict=True):
        best = np.argsort(-row)[:3]
        lines = as_text(image)
        notes = [path, "", *(f"{names[i]:12s} {row[i]:6.1%}" for i in best)]
        if not image.any():
            notes = [path, "", "nothing but background"]
        elif image.mean() < 6:
            notes += ["", "The image is nearly black: is the background visible along the photo's edges?"]
        print("\n".join(f"  {line}   {note}".rstrip() for line, note in
                        zip(lines, notes + [""] * (len(lines) - len(notes)), strict=True)) + "\n")
        answers.append(f"{names[best[0]]}, {row[best[0]]:.0%}" if image.any() else notes[-1])
    try:
        draw(read, images, answers, args.output)
    except (OSError, ValueError) as error:
        print(f"error: --output: {error}", file=sys.stderr)
        failed = True
    raise SystemExit(2 if failed else 0)


if __name__ == "__main__":
    main()
