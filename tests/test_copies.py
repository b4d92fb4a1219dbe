"""Stored copies of images, which stay in the training set."""
import numpy as np
import pandas as pd
import pytest
import torch
from augmented import pixel_range
from estimators import Looks, small
from imblearn.pipeline import make_pipeline

from fmnist_sk import AugmentedCopies, RandomCrop
from fmnist_sk._data.images import LabelledImages


def test_copies_follow_the_originals_mirrored_by_default(tiny_images):
    X, y = tiny_images(["a", "b"])
    larger, labels = AugmentedCopies().fit_resample(X, y)
    np.testing.assert_array_equal(larger, np.concatenate([X, X[:, :, ::-1]]))
    np.testing.assert_array_equal(labels, np.concatenate([y, y]))
    assert larger.dtype == X.dtype


def test_copies_of_a_fraction_and_of_some_classes(tiny_images):
    X, y = tiny_images(["a", "b", "c"])
    larger, labels = AugmentedCopies(0.25, RandomCrop(padding=1), exclude=["b"], random_state=0).fit_resample(X, y)
    assert len(larger) == len(labels) == 60 + 10
    assert set(labels[60:]) == {"a", "c"}
    again = AugmentedCopies(0.25, RandomCrop(padding=1), exclude=["b"], random_state=0).fit_resample(X, y)[0]
    np.testing.assert_array_equal(larger, again)
    assert not np.array_equal(larger, AugmentedCopies(0.25, RandomCrop(padding=1), exclude=["b"],
                                                      random_state=1).fit_resample(X, y)[0])


def test_copies_come_in_the_containers_that_were_given(tiny_images):
    X, y = tiny_images()
    flat = X.reshape(60, -1)
    expected = np.concatenate([X, X[:, :, ::-1]]).reshape(120, -1)
    frame, series = AugmentedCopies().fit_resample(pd.DataFrame(flat).add_prefix("p"), pd.Series(y, name="label"))
    np.testing.assert_array_equal(frame, expected)
    assert list(frame.columns[:2]) == ["p0", "p1"]
    assert series.name == "label"
    assert frame.index.equals(series.index)
    assert frame.index.is_unique
    tensor, labels = AugmentedCopies().fit_resample(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_array_equal(tensor.reshape(120, -1), expected)
    assert isinstance(labels, torch.Tensor)
    assert isinstance(AugmentedCopies().fit_resample(flat, list(y))[1], np.ndarray)


def test_in_augment_copies_are_made_after_the_validation_split(tiny_images):
    X, y = tiny_images()
    looks = Looks()
    classifier = small("ImageClassifier", max_epochs=2, validation_fraction=12, callbacks=[looks],
                       augment=[AugmentedCopies(), RandomCrop(padding=1)]).fit(X, y)
    train, valid = looks.train, looks.valid
    assert (len(train), len(valid)) == (96, 12)
    copies = train.pixels[train.rows[48:]]
    np.testing.assert_array_equal(copies, train.pixels[train.rows[:48]].flip(-1))
    assert set(train.rows.tolist()).isdisjoint(valid.rows.tolist())
    np.testing.assert_array_equal(train.y[:48], train.y[48:])
    assert classifier.history_[-1, "train_batch_count"] == 3


def test_copies_have_the_weights_of_their_originals(tiny_images):
    X, y = tiny_images([0, 1])
    wrong = np.where(np.arange(60) < 30, 1 - y, y)
    weights = np.where(np.arange(60) < 30, 0.01, 1.3)
    copies = AugmentedCopies(transformer=RandomCrop(padding=1))
    assert (small("ImageClassifier", augment=copies).fit(X, wrong, weights).predict(X) == y).mean() > 0.9
    images = LabelledImages(torch.from_numpy(X)[:, None], torch.from_numpy(y), np.array([0, 1]), torch.arange(60) / 7,
                            torch.arange(20, 60))
    larger = AugmentedCopies().enlarge(images, np.array([0, 1]), torch.Generator(), pixel_range(0.0, 255.0))
    assert torch.equal(larger.weights[larger.rows], (torch.arange(20, 60) / 7).repeat(2))


def test_copies_in_the_pipeline_of_imbalanced_learn(tiny_images):
    X, y = tiny_images()
    X = X.reshape(60, -1)
    net = small("ConvNetClassifier", max_epochs=4)
    model = make_pipeline(AugmentedCopies(), net).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), net.fit(*AugmentedCopies().fit_resample(X, y))
                                  .predict_proba(X))


@pytest.mark.parametrize(("params", "message"), [
    ({"fraction": 0}, r"'fraction' parameter .* in the range \(0\.0, 1\.0\]\. Got 0 instead"),
    ({"fraction": 1.5}, "The 'fraction' parameter of AugmentedCopies"),
    ({"transformer": AugmentedCopies()}, "other than AugmentedCopies"),
    ({"transformer": []}, r"transformer must change the copies .* got transformer=\[\]"),
    ({"only": []}, r"only and exclude must leave a class of y \(\[0, 1, 2\]\), got only=\[\], exclude=None"),
    ({"exclude": [0, 1, 2]}, "only and exclude must leave a class of y"),
    ({"only": [9]}, r"only must name labels that occur in y \(\[0, 1, 2\]\), got only=\[9\]"),
])
def test_copies_refuse_what_makes_no_sense(params, message, tiny_images):
    with pytest.raises(ValueError, match=message):
        AugmentedCopies(**params).fit_resample(*tiny_images())
    with pytest.raises(ValueError, match=message):
        small("ImageClassifier", augment=AugmentedCopies(**params)).fit(*tiny_images())
