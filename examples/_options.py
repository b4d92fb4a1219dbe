"""Checks of options that scripts make before any other work: a bad one ends the script with one line."""
import numpy as np
from _data import load_data
from _output import place_for

from fmnist_sk import SharedImages


def prepare(parser, args, default, written, **least):
    """Check options, make the folder to write to, as `place_for` finds it, and load training and test images.

    `least` are the smallest values of options. A bad option ends the script with one line.
    """
    for name, value in least.items():
        given = getattr(args, name)
        if given is not None and given < value:
            parser.error(f"--{name} must be at least {value}, got {given}")
    try:
        if args.device is not None:
            SharedImages(np.zeros((1, 1, 1)), args.device)              # is there such a device?
        args.output = place_for(args, default, written)
        args.output.mkdir(parents=True, exist_ok=True)
        source = {name: vars(args)[name] for name in ("data_home", "folder", "csv", "size", "color") if name in args}
        data = [load_data(part, **source) for part in ("train", "test")]
    except (OSError, ValueError, ImportError) as error:
        parser.error(str(error))
    if args.images is None:
        args.images = len(data[0].images)
    if args.images > len(data[0].images):
        parser.error(f"--images must be at most {len(data[0].images):,}, got {args.images}")
    return data


def check_folds(parser, name, folds, y):
    """Each fold needs an image of every class."""
    rarest = np.unique(y, return_counts=True)[1].min()
    if folds > rarest:
        parser.error(f"--{name} must be at most {rarest}, the number of images of the rarest class, got {folds}")


def check_validation_images(parser, y):
    """A tenth of the images of each class is held out, and its probabilities are calibrated on two halves of it."""
    counts = np.unique(y, return_counts=True)[1]
    if counts.min() < 20:
        parser.error("every class needs at least 20 training images, two of which are held out to calibrate "
                     f"probabilities, got a class of {counts.min()}")
