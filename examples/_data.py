"""The images that a script uses: those of Fashion-MNIST, of a folder of pictures, or of a CSV file."""
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from fmnist_sk import load_csv, load_fashion_mnist, load_image_folder

TEST_SHARE = 0.2        # of the images of a folder or file that has no part for testing


class Data(NamedTuple):
    """Images, and what they show.

    images : (n, H, W) or (n, C, H, W) uint8
    codes : (n,) number of each image's class, from 0 on
    labels : (n_classes,) what the user calls the classes: whole numbers or texts, sorted
    names : a text for each class, in their order
    where : (n,) a text for each image: its file, or its place
    """

    images: np.ndarray
    codes: np.ndarray
    labels: np.ndarray
    names: list[str]
    where: np.ndarray

    def take(self, rows):
        return self._replace(images=self.images[rows], codes=self.codes[rows], where=self.where[rows])

    @property
    def target(self):
        """The label of each image, (n,)."""
        return self.labels[self.codes]

    @property
    def class_names(self):
        """The names for what takes class_names: None where the labels are names themselves."""
        return None if self.labels.dtype.kind == "U" else self.names


def add_data_options(parser, is_sized=True):
    """--data-home, --folder and --csv; with `is_sized` also --size and --color for pictures of a folder."""
    parser.add_argument("--data-home", metavar="PATH", help="folder to search first for the Fashion-MNIST files")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--folder", metavar="PATH", help="your own pictures, in a subfolder for each class: of PATH, or "
                       "of both PATH/train and PATH/test")
    group.add_argument("--csv", metavar="PATH", help="CSV file with your own images and labels")
    if is_sized:
        parser.add_argument("--size", type=int, default=28, metavar="PIXELS", help="height and width of the images "
                            "made from pictures of a folder (default: 28)")
        parser.add_argument("--color", choices=["gray", "rgb"], default="gray", help="channels of the images made from "
                            "pictures of a folder (default: gray)")


def load_data(part, *, data_home=None, folder=None, csv=None, size=28, color="gray", resize="pad"):
    """The images of the part "train", "test" or "all". Raises OSError, ValueError or ImportError if there are none.

    If a folder or file has no test part, that is a fifth of each class, always the same.
    """
    if folder is not None:
        return _of_folder(Path(folder), part, {"size": size, "color": color, "resize": resize})
    if csv is not None:
        return _share(_of_csv(csv), part)
    data = load_fashion_mnist(part, data_home=data_home)
    place = np.arange(len(data.target))
    is_test = place >= 60_000 if part == "all" else np.full(len(place), part == "test")
    first = 60_000 if part == "all" else 0
    where = [f"test {i - first}" if test else f"train {i}" for i, test in zip(place, is_test, strict=True)]
    return Data(data.images, data.target, np.arange(10), list(data.target_names), np.array(where))


def _of_folder(folder, part, options):
    has_parts = (folder / "train").is_dir() and (folder / "test").is_dir()
    if not has_parts:
        return _share(_pictures(folder, **options), part)
    if part != "all":
        return _pictures(folder / part, **options)
    train, test = (_pictures(folder / name, **options) for name in ("train", "test"))
    if train.names != test.names:
        raise ValueError(f"{folder} must have the same classes in train and test, got {train.names} and {test.names}")
    return train._replace(**{name: np.concatenate([getattr(train, name), getattr(test, name)])
                             for name in ("images", "codes", "where")})


@lru_cache
def _pictures(folder, size, color, resize):
    found = load_image_folder(folder, size=size, color=color, resize=resize, n_jobs=-1, progress=sys.stderr.isatty())
    where = np.array([f"{folder.name}/{path.relative_to(folder).as_posix()}" for path in found.paths])
    return Data(found.images, found.target, found.target_names, found.target_names.tolist(), where)


@lru_cache
def _of_csv(path):
    found = load_csv(path)
    if found.target is None:
        raise ValueError(f"{path} must have labels")
    labels, codes = np.unique(found.target, return_inverse=True)
    where = np.array([f"row {i}" for i in range(len(codes))] if found.ids is None else found.ids, dtype=str)
    names = found.target_names if len(found.target_names) == len(labels) else found.target_names[labels]
    return Data(found.images, codes, labels, names.tolist(), where)


def _share(data, part):
    if part == "all":
        return data
    try:
        rows = train_test_split(np.arange(len(data.codes)), test_size=TEST_SHARE, stratify=data.codes, random_state=0)
    except ValueError as error:
        raise ValueError(f"a fifth of the images cannot be held out for testing: {error}") from error
    return data.take(np.sort(rows[part == "test"]))


def is_test_of(data, **source):
    """(n,) bool: which of all images `data` are those of the part "test"."""
    return np.isin(data.where, load_data("test", **source).where)


def to_show(images):
    """Images as pictures for matplotlib: (n, H, W), or in colour (n, H, W, 3)."""
    if images.ndim == 3:
        return images
    return images[:, 0] if images.shape[1] != 3 else images.transpose(0, 2, 3, 1)
