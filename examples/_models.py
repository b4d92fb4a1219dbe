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
    model = fmnist_sk.load_pretrained(device) if name == "pretrained" else fmnist_sk.load(name, device)
    if isinstance(model, Pipeline) and isinstance(model[0], PhotoToFashion):
        model = model[1:] if len(model) > 2 else model[-1]
    if not is_classifier(model):
        raise ValueError(f"{name} must hold a classifier, got {type(model).__name__}")
    if needs_probabilities and not hasattr(model, "predict_proba"):
        raise ValueError(f"{name} must hold a classifier that gives probabilities, got {type(model).__name__}")
    image = np.zeros((28, 28), dtype=np.uint8) if image is None else image
    try:
        model.predict(image[None])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must hold a classifier of images {image.shape[0]} x {image.shape[1]}: {error}"
                         ) from error
    return model


def labels_for(model, data, name):
    """The data's labels as the model names them: whole numbers or class names."""
    y = data.target
    if any(isinstance(label, str) for label in model.classes_.tolist()):
        y = data.target_names[y]
    if unknown := sorted(set(y.tolist()) - set(model.classes_.tolist()), key=str):
        raise ValueError(f"{name} must know the labels of the images, but knows {model.classes_.tolist()}, not "
                         f"{unknown}")
    return y


def names_for(data, y):
    """Names of the labels y, in their order; None where the labels are names already, or not all classes occur."""
    is_code = np.issubdtype(np.asarray(y).dtype, np.integer)
    return list(data.target_names) if is_code and len(np.unique(y)) == len(data.target_names) else None
