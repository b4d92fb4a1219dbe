"""The model that a script is asked to use: loaded, and tried on one image before any other work."""
import math

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

import fmnist_sk
from fmnist_sk import PhotoToFashion

PRETRAINED = {"pretrained": "small", "accurate": "accurate"}        # by the names that the scripts take for them
MODEL_HELP = "a file that fmnist_sk.save wrote, or one of the package's networks: pretrained, accurate"


def load_model(name, image=None, needs_probabilities=False, device="auto"):
    """The classifier in a file, or one of the package, without PhotoToFashion before it, which the scripts bring.

    Raises OSError, ValueError or ImportError for other files, for classifiers of other images than `image` (28 x 28
    bytes by default), and for those without probabilities where they are needed.
    """
    model = read_model(name, device)
    if needs_probabilities and not hasattr(model, "predict_proba"):
        raise ValueError(f"{name} must hold a classifier that gives probabilities, got {type(model).__name__}")
    check_takes(model, name, np.zeros((28, 28), dtype=np.uint8) if image is None else image)
    return model


def check_takes(model, name, image):
    """Raise ValueError for classifiers of other images than `image`."""
    try:
        model.predict(image[None])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must hold a classifier of images {' x '.join(map(str, image.shape))}: {error}"
                         ) from error


def read_model(name, device="auto"):
    """The same, whatever its images are."""
    model = open_model(name, device)
    return rest_of(model) if isinstance(model, Pipeline) and isinstance(model[0], PhotoToFashion) else model


def open_model(name, device="auto"):
    """The same, with all of its steps."""
    model = fmnist_sk.load_pretrained(PRETRAINED[name], device) if name in PRETRAINED else fmnist_sk.load(name, device)
    if not is_classifier(model):
        raise ValueError(f"{name} must hold a classifier, got {type(model).__name__}")
    return model


def rest_of(pipeline):
    """A Pipeline without its first step."""
    return pipeline[1:] if len(pipeline) > 2 else pipeline[-1]


def shape_of(model):
    """(channels, height, width) of the images that a model takes: as it says, or of squares of its values an image."""
    network = model[-1] if isinstance(model, Pipeline) else model
    n_values = getattr(model, "n_features_in_", 28 * 28)
    squares = ((channels, math.isqrt(n_values // channels)) for channels in (1, 3))
    square = next(((channels, side, side) for channels, side in squares if channels * side**2 == n_values), None)
    return getattr(network, "image_shape_", square or (1, 1, n_values))


def pictures_for(model):
    """Size and colour of the pictures of a folder that a model takes, as load_data wants them."""
    channels, height, width = shape_of(model)
    if height != width or channels not in (1, 3):
        raise ValueError(f"the model must take square pictures in gray or RGB, got (channels, height, width) = "
                         f"{(channels, height, width)}")
    return {"size": height, "color": "rgb" if channels == 3 else "gray"}


def labels_for(model, data, name):
    """The data's labels as the model names them: as they are, or class names.

    Raises ValueError for labels that it does not know.
    """
    known = set(model.classes_.tolist())
    y = data.target
    if any(isinstance(label, str) for label in known):
        y = np.array(data.names)[data.codes]
    if unknown := sorted(set(y.tolist()) - known, key=str):
        raise ValueError(f"{name} must know the labels of the images, but knows {model.classes_.tolist()}, not "
                         f"{unknown}")
    return y


def names_for(model, data):
    """Names of the model's classes, in their order; None where its labels are names already."""
    if any(isinstance(label, str) for label in model.classes_.tolist()):
        return None
    names = dict(zip(data.labels.tolist(), data.names, strict=True))
    return [names.get(label, str(label)) for label in model.classes_.tolist()]
