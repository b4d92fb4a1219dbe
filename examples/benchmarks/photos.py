"""How well PhotoToFashion turns photos back into images: photos made from training images, on many backgrounds.

    python examples/benchmarks/photos.py

An image is inverted, enlarged 8 to 14 times, placed at random on a background and stored as JPEG, or cut out with a
transparency mask. Images whose garment is about as bright as the background (less than 60 out of 255 apart) are left
out. The pretrained network predicts the class of the photo, through PhotoToFashion, and of the image itself; the
measure is how often the two agree.

Settings are compared, one change at a time, on some images; the figures of the present settings come from others. Only
training images are used, because it does not matter here that the network has seen them. Writes results/photos.json.
"""
import argparse
import io
import json

import _measure
import numpy as np
from PIL import Image

from fmnist_sk import PhotoToFashion, load_fashion_mnist, load_pretrained, photos

SIZE = 480, 600                                                     # width and height in pixels
EDGE = 20                                                           # pixels up to this are no garment


def plain(value):
    return lambda rng: np.full(SIZE[::-1], float(value))


def noisy(value, sigma=20):
    return lambda rng: rng.normal(value, sigma, SIZE[::-1])


def shaded(light, dark, sigma=0):
    def make(rng):
        direction = rng.normal(size=2)
        ramp = np.add.outer(direction[0] * np.linspace(-1, 1, SIZE[1]), direction[1] * np.linspace(-1, 1, SIZE[0]))
        ramp = (ramp - ramp.min()) / np.ptp(ramp)
        return dark + (light - dark) * ramp + rng.normal(0, sigma or 1e-9, ramp.shape)
    return make


def vignette(light, dark):
    radius = np.add.outer(np.linspace(-1, 1, SIZE[1]) ** 2, np.linspace(-1, 1, SIZE[0]) ** 2) / 2
    return lambda rng: light - (light - dark) * radius


BACKGROUNDS = {"white": plain(255), "light gray (220)": plain(220), "mid-gray (127)": plain(127),
               "dark gray (50)": plain(50), "light gray, noise of deviation 20": noisy(200),
               "shade from 250 to 170": shaded(250, 170),
               "shade from 230 to 150, noise of deviation 10": shaded(230, 150, 10),
               "corners darker, from 240 to 170": vignette(240, 170), "dark gray (40), white garments": plain(40),
               "mid-gray (127), white garments": plain(127), "cut out": None, "cut out, white garments": None,
               "cut out, pale garments": None,
               "light gray in a black frame": plain(220), "light gray between white bars": plain(220)}
DARKEST = {"white garments": 200, "pale garments": 240}             # pixel of garments
FRAMES = {"frame": (24, 24, 0), "bars": (0, 90, 255)}               # pixels left and right, above and below; brightness
CHANGES = {"as it is": {}, "tolerance 0.05": {"tolerance": 0.05}, "tolerance 0.15": {"tolerance": 0.15},
           "not sharpened": {"sharpen": False}, "denoised at 112": {"DENOISED_SIDE": 112},
           "denoised at 448": {"DENOISED_SIDE": 448}, "median of 3 x 3": {"MEDIAN": 3},
           "median of 7 x 7": {"MEDIAN": 7}, "always inverted": {"background": "light"},
           "pale cut-outs stay pale": {"BRIGHT": 0}, "pale cut-outs at 160": {"BRIGHT": 160},
           "cut-outs' contrast as it is": {"CONTRAST": 0}, "cut-outs' contrast 60": {"CONTRAST": 60},
           "cut-outs' contrast 140": {"CONTRAST": 140}}


def make_photo(image, background, seed, darkest=0, frame=None):
    """A photo of an image (28, 28), dark where that is bright, as JPEG; None if the garment would hardly be visible.

    The garment's pixels are from `darkest` to 255. Without a background the garment is cut out. The photo has
    (600, 480) pixels without its frame: widths of that in pixels, left and right, above and below, and its brightness.
    """
    rng = np.random.default_rng(seed)
    side = int(28 * rng.uniform(8, 14))
    garment, mask = (Image.fromarray(part).resize((side, side), Image.Resampling.BICUBIC)
                     for part in (image, (image > EDGE) * np.uint8(255)))
    brightness = 255 - (255 - darkest) / 255 * np.asarray(garment, dtype=np.float64)
    if background is None:
        shown = Image.fromarray(brightness.round().astype(np.uint8))
        return Image.merge("LA", (shown, mask))
    photo = background(rng)
    if abs(np.median(brightness[np.asarray(mask) > 127]) - photo.mean()) < 60:
        return None
    top, left = rng.integers(0, SIZE[1] - side + 1), rng.integers(0, SIZE[0] - side + 1)
    part = photo[top:top + side, left:left + side]
    alpha = np.asarray(mask) / 255
    part[:] = alpha * brightness + (1 - alpha) * part
    if frame is not None:
        sides, ends, value = frame
        photo = np.pad(photo, ((ends, ends), (sides, sides)), constant_values=value)
    file = io.BytesIO()
    Image.fromarray(photo.round().clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return Image.open(file)


def measure(model, data, where, change):
    """For each background: how often the predictions for photo and image agree, and how often they are right."""
    constants = {name: getattr(photos, name) for name in change if name.isupper()}
    transform = PhotoToFashion(**{name: value for name, value in change.items() if not name.isupper()})
    X, y = data.images[where], data.target[where]
    direct, rows = model.predict(X), {}
    try:
        for name in constants:
            setattr(photos, name, change[name])
        for name, background in BACKGROUNDS.items():
            darkest = next((value for kind, value in DARKEST.items() if name.endswith(kind)), 0)
            frame = next((frame for kind, frame in FRAMES.items() if name.endswith(kind)), None)
            made = [make_photo(image, background, seed, darkest, frame)
                    for seed, image in zip(where, X, strict=True)]
            kept = np.array([photo is not None for photo in made])
            found = model.predict(transform.fit_transform([photo for photo in made if photo is not None]))
            rows[name] = {"n": int(kept.sum()), "agrees": float((found == direct[kept]).mean()),
                          "accuracy": float((found == y[kept]).mean()),
                          "accuracy_of_the_images": float((direct == y)[kept].mean())}
    finally:
        for name, value in constants.items():
            setattr(photos, name, value)
    return {"agrees": float(np.mean([row["agrees"] for row in rows.values()])), "backgrounds": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=_measure.count, default=500, help="images to compare settings on; the "
                        "figures come from twice as many others (default: 500)")
    parser.add_argument("--name", type=_measure.file_name, default="photos", help="name of the result file")
    parser.add_argument("--settings", nargs="*", choices=CHANGES, metavar="NAME", default=list(CHANGES),
                        help="settings to compare again; rows of others stay (default: all)")
    args = parser.parse_args()
    data, model = load_fashion_mnist("train"), load_pretrained()
    places = np.random.default_rng(0).permutation(len(data.images))
    path = _measure.RESULTS / f"{args.name}.json"
    before = json.loads(path.read_text()) if path.exists() else {"settings": {}, "environment": {}}
    content = {"settings": {name: {**row, "git": row.get("git", before["environment"].get("git"))}
                            for name, row in before["settings"].items() if name not in args.settings}}
    for name, change in CHANGES.items():
        if name not in args.settings:
            continue
        content["settings"][name] = {"change": change, **measure(model, data, places[:args.images], change),
                                     **_measure.of_a_row()}
        print(f"{name:20s} {content['settings'][name]['agrees']:.3f}", flush=True)
        _measure.write(args.name, content)
    content["measured"] = {**measure(model, data, places[args.images:3 * args.images], {}), **_measure.of_a_row()}
    print("\n".join(f"{name:45s} {row['agrees']:.3f}" for name, row in content["measured"]["backgrounds"].items()))
    print(f"wrote {_measure.write(args.name, content)}")


if __name__ == "__main__":
    main()
