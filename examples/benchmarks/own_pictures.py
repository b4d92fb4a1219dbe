"""A folder of photos, from loading to accuracy: 6,000 made from training images, and 1,000 from test images.

    python examples/benchmarks/own_pictures.py

The photos are JPEGs in ten folders, with 20 to 400 pixels a side and different proportions. They show garments in
colours: a third on white, a third on a coloured gradient and a third on a noisy background. Some are rotated, as their
EXIF data say. They are read by load_image_folder at 28 and at 64 pixels in RGB. A network is trained by the default
recipe, and the accuracy on the photos of test images is read once, after the last epoch. For comparison, the same
recipe is trained on the images themselves.

Writes results/own_pictures.json: accuracy, and for one thread and for two the photos read per second and the memory
that this takes. A run replaces that of the same photos and seed in the file, once it is complete.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

import _measure
import numpy as np
from _fits import memory
from PIL import Image

from fmnist_sk import ResNetClassifier, load_fashion_mnist, load_image_folder

N_TRAIN, N_TEST = 6_000, 1_000
ITSELF = "the images themselves"
TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def background(size, rng):
    """A white, shaded or noisy picture (height, width, 3) of light colours."""
    width, height = size
    kind = rng.integers(3)
    if kind == 0:
        return np.full((height, width, 3), 255.0)
    colour = rng.uniform(150, 240, 3)
    if kind == 1:
        return colour + np.linspace(-30, 30, width)[None, :, None] * np.ones((height, 1, 1))
    return colour + rng.normal(0, 12, (height, width, 3))


def photo(image, rng):
    """A Pillow image of a garment in a colour of its own, and the tag of its orientation."""
    side = int(rng.integers(20, 401))
    size = side, max(20, int(side * rng.uniform(0.8, 1.25)))
    garment = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), dtype=float)[:, :, None] / 255
    mask = np.asarray(Image.fromarray((image > 20) * np.uint8(255)).resize(size, Image.Resampling.BICUBIC),
                      dtype=float)[:, :, None] / 255
    dark = rng.uniform(0, 110, 3)                           # the colour of what is brightest in the image
    shown = dark + (235 - dark) * (1 - garment)
    values = mask * shown + (1 - mask) * background(size, rng)
    made = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    tag = int(rng.choice([1, 1, 1, *TURNED]))
    return (made if tag == 1 else made.transpose(TURNED[tag])), tag


def write_photos(folder, images, labels, names, seed):
    rng = np.random.default_rng(seed)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label].replace("/", " or ") / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        made, tag = photo(image, rng)
        exif = Image.Exif()
        exif[0x0112] = tag
        made.save(path, "JPEG", quality=88, exif=exif)


def read(folder, size, n_jobs):
    """Pictures, how many are read per second, and the MiB at the peak above what the process had before."""
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")           # VmHWM is VmRSS again
    start = time.perf_counter()
    pictures = load_image_folder(folder, size=size, color="rgb", n_jobs=n_jobs)
    return pictures, len(pictures.images) / (time.perf_counter() - start), memory("VmHWM") - before


def fitted(what, seed, device, train, test, **reading):
    """A row of the file: a network trained on images and labels, and its accuracy on others."""
    start = time.perf_counter()
    model = ResNetClassifier(random_state=seed, device=device).fit(*train)
    row = {"what": what, "seed": seed, "fit_seconds": time.perf_counter() - start,
           "test_accuracy": model.score(*test), **reading, **_measure.of_a_row(), "device": device}
    print(what, seed, row["test_accuracy"], *reading.values(), flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=_measure.count, default=N_TRAIN, help="training photos (default: 6,000)")
    parser.add_argument("--seeds", type=_measure.seed, nargs="+", default=[0, 1, 2], help="seeds (default: 0 1 2)")
    parser.add_argument("--sizes", type=_measure.count, nargs="+", default=[28, 64], help="pixels (default: 28 64)")
    parser.add_argument("--device", type=_measure.device, default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--name", type=_measure.file_name, help="name of the result file (default: own_pictures, or "
                        "own_pictures_cuda)")
    args = parser.parse_args()
    args.name = args.name or _measure.name_on("own_pictures", args.device)
    settings = {"images": args.images, "test_images": N_TEST, "device": args.device}
    content = _measure.read(args.name, [*settings, "runs", "megabytes_of_files"])
    if content and (others := {name: content[name] for name in settings}) != settings:
        sys.exit(f"{args.name}.json has runs with {others}, not {settings}: choose another --name")
    runs = {(run["what"], run["seed"]): run for run in content.get("runs", [])}
    train, test = load_fashion_mnist("train"), load_fashion_mnist("test")
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(train.images))[:args.images], rng.permutation(len(test.images))[:N_TEST]
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name) / "train", Path(name) / "test"
        for folder, data, part in zip(folders, (train, test), rows, strict=True):
            write_photos(folder, data.images[part], data.target[part], data.target_names, seed=len(part))
        settings["megabytes_of_files"] = sum(path.stat().st_size for path in folders[0].rglob("*.jpg")) / 1e6

        def keep(row):
            runs[row["what"], row["seed"]] = row
            _measure.write(args.name, {**settings, "runs": list(runs.values())})

        for size in args.sizes:
            speeds, mib = {}, {}
            for n_jobs in (1, 2):
                pictures, speeds[n_jobs], mib[n_jobs] = read(folders[0], size, n_jobs)
            tried = load_image_folder(folders[1], size=size, color="rgb")
            for seed in args.seeds:
                keep(fitted(f"photos at {size} pixels in RGB", seed, args.device, (pictures.images, pictures.target),
                            (tried.images, tried.target), read_per_second=speeds, mib_above_start=mib,
                            megabytes_of_images=pictures.images.nbytes / 1e6))
        data = [(found.images[part], found.target[part]) for found, part in zip((train, test), rows, strict=True)]
        for seed in args.seeds:
            keep(fitted(ITSELF, seed, args.device, *data))


if __name__ == "__main__":
    main()
