"""The random transformers' common part: to which images they are applied, how often, and their two uses."""
import numpy as np
import pandas as pd
import pytest
import torch
from augmented import N, draw, pixel_range, some_images
from estimators import AUGMENTERS, small
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from fmnist_sk import (
    AugmentedCopies,
    ImageClassifier,
    Preset,
    RandomCrop,
    RandomHorizontalFlip,
)
from fmnist_sk.augmentation import PRESETS, as_transformers
from fmnist_sk.datasets import CLASS_NAMES


def changed(augment, **kwargs):
    """(N,) bool: which of N images come out changed."""
    x = some_images()
    return (draw(augment, x.clone(), **kwargs).x != x).any(dim=(1, 2, 3))


@pytest.mark.parametrize("name", AUGMENTERS)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_image_is_chosen_with_probability_p(name, p):
    always = changed(small(name, p=1.0)).double().mean().item()        # a crop may draw the middle: no change
    assert always > 0.7
    assert changed(small(name, p=p)).double().mean().item() == pytest.approx(p * always, abs=0.03)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_classes_are_named_by_the_users_labels(name):
    codes = torch.arange(N) % 3
    excluded = changed(small(name, p=1.0, exclude=["shoe"]))
    assert not excluded[codes == 2].any()
    assert excluded[codes != 2].float().mean() > 0.7
    limited = changed(small(name, p=1.0, only=["shoe", "bag"], exclude=["bag"]))
    assert not limited[codes != 2].any()
    assert limited[codes == 2].any()
    for parameter in ("only", "exclude"):
        with pytest.raises(ValueError, match=rf"{parameter} must name labels that occur in y \(\['bag', 'coat', 'sh"):
            changed(small(name, **{parameter: ["Shoe"]}))


def test_classes_may_be_dates():
    days, codes = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]"), np.arange(20) % 2
    X = some_images(20).numpy()
    for choice in ({"only": [days[1]]}, {"exclude": [pd.Timestamp(days[0])]}):
        Y = RandomHorizontalFlip(p=1, **choice).fit_transform(X, days[codes])
        np.testing.assert_array_equal((Y != X).any((1, 2, 3)), codes == 1)


def applications(augment, monkeypatch, classes, codes):
    """For each step of an augmentation, (N,) bool: to which images it was applied."""
    found = []
    for kind in {type(step) for step in as_transformers(augment, np.array(classes))}:
        def spy(self, x, chosen, generator, pixel_range, apply=kind._apply):
            found.append((type(self).__name__, chosen.clone()))
            return apply(self, x, chosen, generator, pixel_range)
        monkeypatch.setattr(kind, "_apply", spy)
    x = some_images(len(codes))
    y = draw(augment, x.clone(), codes, classes).x
    return dict(found), (y != x).any(dim=(1, 2, 3))


@pytest.mark.parametrize("classes", [range(10), sorted(CLASS_NAMES)], ids=["codes", "names"])
def test_report_3_applies_its_five_independently_and_never_mirrors_shoes(classes, monkeypatch):
    n = 40_000
    codes = torch.arange(n) % 10
    found, has_changed = applications("report_3", monkeypatch, list(classes), codes)
    shoes = torch.tensor([label in (5, 7, 9, "Sandal", "Sneaker", "Ankle boot") for label in classes])[codes]
    assert sorted(found) == ["GaussianNoise", "RandomBrightness", "RandomCrop", "RandomErasing", "RandomHorizontalFlip"]
    assert not found["RandomHorizontalFlip"][shoes].any()
    rates = {name: chosen[~shoes].double().mean().item() for name, chosen in found.items()}
    assert rates == pytest.approx(dict.fromkeys(rates, 0.3), abs=0.01)
    for name, chosen in found.items():
        for other, its in found.items():
            if name < other:
                both = (chosen & its)[~shoes].double().mean().item()
                assert both == pytest.approx(0.09, abs=0.007), (name, other)
    untouched = ~torch.stack(list(found.values())).any(0)
    assert untouched[~shoes].double().mean().item() == pytest.approx(0.7 ** 5, abs=0.01)
    assert untouched[shoes].double().mean().item() == pytest.approx(0.7 ** 4, abs=0.01)
    assert not has_changed[untouched].any()
    assert has_changed[~untouched].double().mean() > 0.95


def test_report_1_moves_by_one_pixel_and_mirrors():
    crop, flip = as_transformers("report_1")
    assert (type(crop).__name__, crop.padding, type(flip).__name__) == ("RandomCrop", 1, "RandomHorizontalFlip")


def test_report_3_crops_after_padding_by_four():
    assert [step.padding for step in as_transformers("report_3") if isinstance(step, RandomCrop)] == [4]


def test_report_2_mirrors_shifts_zooms_and_erases():
    flip, affine, erasing = as_transformers("report_2")
    assert type(flip).__name__ == "RandomHorizontalFlip"
    assert (affine.shift, affine.zoom, affine.rotation, affine.shear) == (0.1, 0.1, 0.0, 0.0)
    assert erasing.fill == "random"


def test_report_3_is_for_fashion_mnist():
    with pytest.raises(ValueError, match=r"augment='report_3' is for Fashion-MNIST: .*Ankle boot, got \['bag', 'coat'"):
        draw("report_3", some_images(10))
    draw("report_3", some_images(10), classes=[0, 1, 2])               # a part of the classes, without shoes


def test_images_that_are_not_chosen_keep_every_digit():
    X = np.random.default_rng(0).random((20, 8, 8)) * 1e300
    y = np.arange(20) % 2
    for name in AUGMENTERS:
        np.testing.assert_array_equal(small(name, p=1e-12, random_state=0).fit_transform(X, y), X, err_msg=name)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_draws_come_from_the_generator_alone(name):
    transformer, x = small(name, p=0.5), some_images(50)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, two, other = (draw(transformer, x, seed=seed).x for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", AUGMENTERS)
def test_values_stay_within_the_range_of_the_training_images(name):
    x = draw(small(name, p=1.0), some_images(), range_=pixel_range(0.0, 200.0)).x
    assert x.min() >= 0
    assert x.max() <= 200


# ---------------------------------------------------------------------- as augment=

def test_augment_takes_one_a_list_a_pipeline_or_a_preset():
    crop, flip = RandomCrop(padding=1), RandomHorizontalFlip()
    assert as_transformers(None) == []
    assert as_transformers(crop) == [crop]
    assert as_transformers([crop, flip]) == as_transformers(make_pipeline(crop, flip)) == [crop, flip]
    assert as_transformers(make_pipeline("passthrough", crop)) == [crop]
    assert [type(step) for step in as_transformers("light")] == [RandomCrop]
    assert [type(step) for step in as_transformers("fashion")] == [RandomCrop, RandomHorizontalFlip]
    assert set(PRESETS) == {"light", "fashion", "strong", "report_1", "report_2", "report_3"}
    assert [step.p for step in as_transformers(Preset("report_3", p=0.5))] == [0.5] * 5
    assert [step.p for step in as_transformers(Preset("strong"))] == [step.p for step in as_transformers("strong")]
    assert [type(step) for step in as_transformers([Preset("light"), flip])] == [RandomCrop, RandomHorizontalFlip]
    for wrong in (Preset("fashionable"), Preset("light", p=1.5)):
        with pytest.raises(ValueError, match=r"The '(name|p)' parameter of Preset must be"):
            as_transformers(wrong)
    copies = AugmentedCopies(transformer="light")
    assert as_transformers([copies, crop]) == [copies, crop]
    for wrong in ("fashionable", [3], LogisticRegression(), 1.5):
        with pytest.raises(TypeError, match="augment must be None, one of"):
            as_transformers(wrong)


def test_the_classifier_draws_anew_in_every_epoch_in_training_only(tiny_images):
    X, y = tiny_images(["a", "b"])
    batches = []

    class Recorder(RandomHorizontalFlip):
        def _apply(self, x, chosen, generator, pixel_range):
            batches.append((chosen.clone(), pixel_range))
            return super()._apply(x, chosen, generator, pixel_range)

    classifier = small("ImageClassifier", augment=[Recorder(exclude=["a"])], batch_size=60, max_epochs=2).fit(X, y)
    assert len(batches) == 2
    assert not torch.equal(batches[0][0], batches[1][0])
    low, high, background = batches[0][1]
    assert (low.item(), high.item()) == (X.min(), X.max())
    assert low < background < high              # noise surrounds what is shown
    classifier.predict(X)
    assert len(batches) == 2


def test_nested_parameters_can_be_searched():
    classifier = ImageClassifier(augment=make_pipeline(RandomCrop(), RandomHorizontalFlip()))
    classifier.set_params(augment__randomcrop__padding=7, augment__randomhorizontalflip__p=0.1)
    assert classifier.get_params()["augment__randomcrop__padding"] == 7
    assert classifier.augment[1].p == 0.1


# ---------------------------------------------------------------------- as a step of a Pipeline

@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", AUGMENTERS)
def test_as_a_pipeline_step_it_acts_in_training_only(name, tiny_images):
    X, y = tiny_images(["a", "b"])
    flat = X.reshape(len(X), -1)
    step = small(name, p=1.0, random_state=0)
    once, again = step.fit_transform(flat, y), step.fit_transform(flat, y)
    np.testing.assert_array_equal(once, again)                         # random_state=0
    assert (once != flat).any()
    np.testing.assert_array_equal(step.transform(flat), flat)
    np.testing.assert_array_equal(once.reshape(X.shape), step.fit_transform(X, y))
    spared = small(name, p=1.0, exclude=["a"], random_state=0).fit_transform(X, y)
    np.testing.assert_array_equal(spared[y == "a"], X[y == "a"])
    assert (spared[y == "b"] != X[y == "b"]).any()
    pipeline = make_pipeline(step, LogisticRegression(max_iter=20)).fit(flat, y)
    expected = LogisticRegression(max_iter=20).fit(once, y)            # trained on one draw, asked about X as it is
    np.testing.assert_array_equal(pipeline.predict_proba(flat), expected.predict_proba(flat))


def test_as_a_pipeline_step_it_says_what_it_needs(tiny_images):
    X, _ = tiny_images()
    flat = X.reshape(60, -1)
    with pytest.raises(ValueError, match="needs y, the labels, got y=None"):
        RandomHorizontalFlip(only=[1]).fit_transform(X)
    with pytest.raises(ValueError, match="image_shape must say how rows of 60 values form an image"):
        RandomHorizontalFlip().fit_transform(flat[:, :60])
    for wrong in (("a", "b"), (-8, -8), (1, 1, 8, 8)):
        with pytest.raises(ValueError, match="image_shape must be"):
            RandomCrop(image_shape=wrong).fit_transform(flat)
    assert RandomCrop(image_shape=(4, 16)).fit_transform(flat).shape == (60, 64)
