"""The random transformers: what they do to images, to which, how often, and their two uses."""
import numpy as np
import pytest
import torch
from estimators import AUGMENTERS, small
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from fmnist_sk import ImageClassifier, RandomCrop, RandomHorizontalFlip
from fmnist_sk._batches import Batch
from fmnist_sk.augmentation import PixelRange, as_transformers, compile_augmentation

N = 4000
RANGE = PixelRange(0.0, 255.0)


def draw_batch(augment, batch, classes=(), seed=0, pixel_range=RANGE):
    compile_augmentation(augment, np.array(classes), pixel_range, torch.Generator().manual_seed(seed))(batch)
    return batch


def draw(augment, x, codes=None, classes=("a", "b"), seed=0):
    codes = torch.arange(len(x)) % len(classes) if codes is None else codes
    return draw_batch(augment, Batch(x, codes), classes, seed).x


def changed(augment, n=N, codes=None, classes=None):
    """(n,) bool: which of n equal, lopsided images come out changed."""
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 1, 2] = 200
    result = draw(augment, x.repeat(n, 1, 1, 1), codes, classes)
    return (result != x).any(dim=(1, 2, 3))


def test_flip_mirrors_left_to_right():
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    torch.testing.assert_close(draw(RandomHorizontalFlip(p=1), x), x.flip(-1))


def test_crop_shifts_in_both_directions_equally_often_and_fills_with_background():
    x = torch.full((N, 2, 7, 7), 9.0)
    x[:, :, 3, 3] = 200
    range_ = PixelRange(5.0, 255.0)
    y = draw_batch(RandomCrop(padding=2), Batch(x, None), pixel_range=range_).x
    assert y.shape == x.shape
    torch.testing.assert_close(y[:, 0], y[:, 1])
    image, rows, columns = (y[:, 0] == 200).nonzero(as_tuple=True)
    assert image.tolist() == list(range(N))                            # the bright pixel is never lost here
    for positions in (rows, columns):
        counts = torch.bincount(positions, minlength=7)
        assert counts[[0, 6]].tolist() == [0, 0]
        assert (counts[1:6] > N / 5 * 0.85).all()
    for row in range(1, 6):
        n_new = abs(row - 3)
        picked = y[(rows == row) & (columns == 3)][0, 0]
        assert (picked == 5).sum() == n_new * 7


@pytest.mark.parametrize("name", AUGMENTERS)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_image_is_chosen_with_probability_p(name, p):
    transformer = small(name, p=p)
    always = changed(small(name, p=1.0)).double().mean().item()        # a crop may draw the middle: no change
    assert changed(transformer).double().mean().item() == pytest.approx(p * always, abs=0.03)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_classes_are_named_by_the_users_labels(name):
    classes, codes = np.array(["bag", "coat", "shoe"]), torch.arange(N) % 3
    excluded = changed(small(name, p=1.0, exclude=["shoe"]), codes=codes, classes=classes)
    assert not excluded[codes == 2].any()
    assert excluded[codes != 2].float().mean() > 0.8
    limited = changed(small(name, p=1.0, only=["shoe", "bag"], exclude=["bag"]), codes=codes, classes=classes)
    assert not limited[codes != 2].any()
    assert limited[codes == 2].any()
    with pytest.raises(ValueError, match=r"exclude must name labels that occur in y \(\['bag', 'coat', 'shoe'\]\)"):
        changed(small(name, exclude=["Shoe"]), codes=codes, classes=classes)


def test_images_are_chosen_independently():
    x = torch.zeros(N, 1, 6, 6)
    x[:, 0, 1, 2] = 200
    y = draw([RandomHorizontalFlip(p=0.5), RandomCrop(padding=1, p=0.5)], x)
    mirrored = y[:, 0, :, 3:].sum(dim=(1, 2)) > 0
    moved_down_or_up = y[:, 0, 1].sum(dim=1) == 0
    both = (mirrored & moved_down_or_up).float().mean()
    assert both == pytest.approx((mirrored.float().mean() * moved_down_or_up.float().mean()).item(), abs=0.02)


def test_images_that_are_not_chosen_keep_every_digit():
    X = np.random.default_rng(0).random((20, 8, 8)) * 1e300
    np.testing.assert_array_equal(RandomHorizontalFlip(p=1e-12, random_state=0).fit_transform(X), X)


# ---------------------------------------------------------------------- as augment=

def test_augment_takes_one_a_list_a_pipeline_or_a_preset():
    crop, flip = RandomCrop(padding=1), RandomHorizontalFlip()
    assert as_transformers(None) == []
    assert as_transformers(crop) == [crop]
    assert as_transformers([crop, flip]) == as_transformers(make_pipeline(crop, flip)) == [crop, flip]
    assert as_transformers(make_pipeline("passthrough", crop)) == [crop]
    assert [type(step) for step in as_transformers("light")] == [RandomCrop]
    assert [type(step) for step in as_transformers("fashion")] == [RandomCrop, RandomHorizontalFlip]
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
    assert batches[0][1] == (X.min(), X.max())
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
