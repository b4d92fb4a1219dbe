"""The model that a script is to use: loaded, and tried on one image before any other work."""
import math

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

import fmnist_sk
from fmnist_sk import CLASS_NAMES, ImageReader, PhotoToFashion

PRETRAINED = {"pretrained": "small", "accurate": "accurate"}        # by the names that the scripts take for them
MODEL_HELP = "a file that fmnist_sk.save wrote, or one of the package's networks: pretrained, accurate"


def load_model(name, image=None, needs_probabilities=False, device="auto"):
    """The classifier in a file, or one of the package's, without a first step that reads photos.

    Raises OSError, ValueError or ImportError for other files, for classifiers that do not take images like `image`
    (28 x 28 bytes by default), and for those without probabilities where they are needed.
    """
    _, model = open_model(name, device)
    if needs_probabilities and not hasattr(model, "predict_proba"):
        raise ValueError(f"{name} must hold a classifier that gives probabilities, got {type(model).__name__}")
    check_takes(model, name, np.zeros((28, 28), dtype=np.uint8) if image is None else image)
    return model


def open_model(name, device="auto"):
    """The step that reads photos for a file's classifier, or None, and the classifier; of a search, the best one."""
    model = fmnist_sk.load_pretrained(PRETRAINED[name], device) if name in PRETRAINED else fmnist_sk.load(name, device)
    model, reader = getattr(model, "best_estimator_", model), None
    if isinstance(model, Pipeline) and isinstance(model[0], (ImageReader, PhotoToFashion)):
        reader, model = model[0], model[1:] if len(model) > 2 else model[-1]
    if not is_classifier(model):
        raise ValueError(f"{name} must hold a classifier, got {type(model).__name__}")
    return reader, model


def check_takes(model, name, image):
    """Raise ValueError for classifiers that do not take images like `image`."""
    try:
        model.predict(image[None])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must hold a classifier of {' x '.join(map(str, image.shape))} images: {error} "
                         "Models of other pictures can be tried with web_demo.py, evaluate.py --folder or ImageReader."
                         ) from error


def reader_for(model):
    """An ImageReader that turns photos into what a model takes. Raises ValueError unless that is gray or RGB."""
    network = model[-1] if isinstance(model, Pipeline) else model
    n_values = getattr(model, "n_features_in_", 28 * 28)            # of models that say nothing else: squares
    squares = ((channels, math.isqrt(n_values // channels)) for channels in (1, 3))
    square = next(((channels, side, side) for channels, side in squares if channels * side**2 == n_values), None)
    channels, height, width = getattr(network, "image_shape_", square or (1, 1, n_values))
    if channels not in (1, 3) or height == 1:
        raise ValueError(f"the model must take pictures in gray or RGB, got (channels, height, width) = "
                         f"{(channels, height, width)}")
    return ImageReader((height, width), "rgb" if channels == 3 else "gray")


def labels_for(model, data, name):
    """The data's labels as the model names them: unchanged, as class names, or as numbers of the classes.

    Raises ValueError for labels that the model does not know.
    """
    known = model.classes_.tolist()
    for y in (data.target, np.array(data.names)[data.codes], _numbers_for(known, data, name)):
        if y is not None and set(y.tolist()) <= set(known):
            return y
    raise ValueError(f"{name} must know the labels of the images, but knows {known}, not "
                     f"{sorted(set(data.target.tolist()) - set(known), key=str)}")


def _numbers_for(known, data, name):
    """Labels for a model trained on numbers: of classes in alphabetical order, or of Fashion-MNIST's.

    None if its numbers are neither, or may be both, which only the user knows.
    """
    if data.labels.dtype.kind != "U":
        return None
    is_fashion = known == list(range(len(CLASS_NAMES))) and set(data.names) <= set(CLASS_NAMES)
    is_ordered = known == list(range(len(data.names))) and name not in PRETRAINED
    if is_fashion and not is_ordered:
        return np.array([CLASS_NAMES.index(label) for label in data.names])[data.codes]
    return data.codes if is_ordered and not is_fashion else None


def names_for(model, data, name):
    """Names of the model's classes, in their order; None where its labels are names already."""
    if any(isinstance(label, str) for label in model.classes_.tolist()):
        return None
    y = labels_for(model, data, name)
    names = {label: data.names[code] for label, code in zip(y.tolist(), data.codes.tolist(), strict=True)}
    return [names.get(label, str(label)) for label in model.classes_.tolist()]
