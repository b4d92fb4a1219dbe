"""The model that a script is asked to use: loaded, and tried on one image before any other work."""
import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

import fmnist_sk
from fmnist_sk import PhotoToFashion


def load_model(name, image=None, needs_probabilities=False, device="auto"):
    """The classifier in a file, or the "pretrained" one, without PhotoToFashion before it, which the scripts bring.

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
    model = fmnist_sk.load_pretrained(device=device) if name == "pretrained" else fmnist_sk.load(name, device)
    if isinstance(model, Pipeline) and isinstance(model[0], PhotoToFashion):
        model = model[1:] if len(model) > 2 else model[-1]
    if not is_classifier(model):
        raise ValueError(f"{name} must hold a classifier, got {type(model).__name__}")
    return model


def pictures_for(model):
    """Size and colour of the pictures of a folder that a model takes, as load_data wants them."""
    network = model[-1] if isinstance(model, Pipeline) else model
    channels, height, width = getattr(network, "image_shape_", (1, 28, 28))
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
