"""Warnings point to the line of the user's program."""
import inspect
import warnings

import numpy as np
import pytest
from estimators import net, small
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn

from fmnist_sk import DeepEnsembleClassifier, ImageScaler, PhotoToFashion, load_image_folder, save


def in_a_pipeline(X, y, folder):
    make_pipeline(ImageScaler(), net(max_epochs=1)).fit(X[:, :, :7].reshape(60, -1), y)


def broken_picture(X, y, folder):
    from PIL import Image
    (folder / "a").mkdir()
    Image.fromarray(X[0]).save(folder / "a" / "0.png")
    (folder / "a" / "1.png").write_bytes(b"no picture")
    load_image_folder(folder, size=8)


CASES = {
    "another range": lambda X, y, folder: net(max_epochs=1).fit(X / 255.0, y).predict(X),
    "another range, of validation": lambda X, y, folder: net(
        max_epochs=1, validation_data=(X / 255.0, y)).fit(X, y),
    "another range, in an ensemble": lambda X, y, folder: DeepEnsembleClassifier(
        net(max_epochs=1), n_members=1).fit(X / 255.0, y).score(X, y),
    "rows that fill no square": in_a_pipeline,
    "rows that fill no square, further": lambda X, y, folder: net(max_epochs=1).partial_fit(
        X[:, :, :7].reshape(60, -1), y),
    "rows that are padded": lambda X, y, folder: small(
        "ConvNetClassifier", max_epochs=1, architecture="4C3-MP2-MP2-MP2-MP2").fit(X.reshape(60, -1), y),
    "a softmax": lambda X, y, folder: net(max_epochs=1, module=nn.Sequential(
        nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1))).fit(X, y),
    "a search": lambda X, y, folder: cross_val_score(net(max_epochs=1), X[:, :, :7].reshape(60, -1), y, cv=2),
    "a photo without a garment": lambda X, y, folder: PhotoToFashion().transform([np.full((9, 9, 3), 255, np.uint8)]),
    "a broken picture": broken_picture,
    "a model whose data are not saved": lambda X, y, folder: save(
        small("ConvNetClassifier", max_epochs=1, validation_data=(X, y)).fit(X, y), folder / "model.safetensors"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_warning_names_the_line_that_caused_it(case, tiny_images, tmp_path):
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        CASES[case](*tiny_images(), tmp_path)
    given = [warning for warning in given if warning.category is UserWarning]
    lines, start = inspect.getsourcelines(CASES[case])
    assert given
    for warning in given:
        assert warning.filename == __file__, warning
        assert start <= warning.lineno < start + len(lines)
