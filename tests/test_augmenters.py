"""What each random transformer does to images and targets."""
import numpy as np
import pandas as pd
import pytest
import torch
from estimators import small
from imblearn.pipeline import make_pipeline
from test_augmentation import N, draw, some_images
from torch.nn import functional as F

from fmnist_sk import (
    AugmentedCopies,
    CutMix,
    GaussianNoise,
    ImageClassifier,
    MixUp,
    RandomAffine,
    RandomBrightness,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
)
from fmnist_sk._batches import Batch, Images
from fmnist_sk.augmentation import PixelRange

# ---------------------------------------------------------------------- geometry


def test_flip_mirrors_left_to_right():
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    torch.testing.assert_close(draw(RandomHorizontalFlip(p=1), x).x, x.flip(-1))


def test_crop_shifts_in_both_directions_equally_often_and_fills_with_background():
    x = torch.full((N, 2, 7, 7), 9.0)
    x[:, :, 3, 3] = 200
    y = draw(RandomCrop(padding=2), x, pixel_range=PixelRange(5.0, 255.0)).x
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


def moments(x):
    """Of blobs (n, 1, height, width): mass, centre (n, 2) in pixels from the middle (right, down), angle of the long
    axis to the horizontal in degrees, all measured from the background 10."""
    weight = x[:, 0] - 10
    height, width = weight.shape[1:]
    down = torch.arange(height)[:, None] - (height - 1) / 2
    right = torch.arange(width)[None] - (width - 1) / 2
    mass = weight.sum((1, 2))
    centre = torch.stack([(weight * axis).sum((1, 2)) / mass for axis in (right, down)], 1)
    dx, dy = right - centre[:, 0, None, None], down - centre[:, 1, None, None]
    xx, yy, xy = ((weight * part).sum((1, 2)) / mass for part in (dx * dx, dy * dy, dx * dy))
    return mass, centre, torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2)


def bar(n=2000, height=40, width=56):
    """A bright horizontal bar with soft ends in the middle of a wide image, on background 10."""
    down = torch.arange(height)[:, None] - (height - 1) / 2
    right = torch.arange(width)[None] - (width - 1) / 2
    blob = torch.exp(-(right / 7) ** 2 - (down / 2) ** 2)
    return (10 + 200 * blob).expand(n, 1, height, width).contiguous()


def affine(**params):
    nothing = {"shift": 0.0, "zoom": 0.0, "rotation": 0.0, "shear": 0.0}
    return moments(draw(RandomAffine(**{**nothing, **params}), bar(), pixel_range=PixelRange(10.0, 210.0)).x)


def spans(values, low, high):
    """Whether the values fill the interval evenly and do not leave it."""
    width = high - low
    assert low - 0.02 * width <= values.min() <= low + 0.05 * width
    assert high - 0.05 * width <= values.max() <= high + 0.02 * width
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * width)
    assert values.std() == pytest.approx(width / 12 ** 0.5, rel=0.06)


def test_affine_with_nothing_to_do_changes_nothing():
    mass, centre, angle = affine()
    torch.testing.assert_close(mass, moments(bar())[0])
    assert centre.abs().max() < 1e-3
    assert angle.abs().max() < 0.1


def test_affine_shifts_by_shares_of_height_and_width():
    _, centre, angle = affine(shift=0.1)
    spans(centre[:, 0], -5.6, 5.6)
    spans(centre[:, 1], -4.0, 4.0)
    assert np.corrcoef(centre.T)[0, 1] == pytest.approx(0, abs=0.07)
    assert angle.abs().max() < 0.1


def test_affine_zooms_both_sides_alike():
    mass, centre, _ = affine(zoom=0.2)
    spans((mass / moments(bar())[0]).sqrt(), 0.8, 1.2)
    assert centre.abs().max() < 1e-2


def test_affine_turns_by_degrees_also_where_images_are_not_square():
    mass, centre, angle = affine(rotation=30.0)
    spans(angle, -30, 30)
    torch.testing.assert_close(mass, moments(bar())[0], rtol=0.01, atol=0)
    assert centre.abs().max() < 1e-2


def test_affine_shears_columns_and_keeps_rows_horizontal():
    x = draw(RandomAffine(shift=0, zoom=0, shear=20.0), bar().mT.contiguous(), pixel_range=PixelRange(10.0, 210.0)).x
    down = torch.arange(56.0) - 27.5
    weight = x[:, 0] - 10
    middle = (weight * (torch.arange(40.0) - 19.5)).sum(2) / weight.sum(2)          # of each row, where there is any
    slope = (middle * down)[:, 18:38].sum(1) / (down ** 2)[18:38].sum()
    spans(torch.rad2deg(slope.atan()), -20, 20)
    torch.testing.assert_close(weight.sum(2), (bar().mT[:, 0] - 10).sum(2), rtol=0.01, atol=0.5)


def test_affine_fills_with_background():
    x = torch.full((50, 1, 8, 8), 100.0)
    y = draw(RandomAffine(shift=1.0, zoom=0), x, pixel_range=PixelRange(10.0, 210.0)).x
    assert y.min() == pytest.approx(10)
    assert y.max() == pytest.approx(100)


# ---------------------------------------------------------------------- pixels

def rectangles(transformer, height=30, width=20, fill=-1.0):
    """Top, left, height and width of what was erased from white images, and how many pixels were."""
    x = torch.full((2000, 1, height, width), 200.0)
    erased = draw(transformer, x).x[:, 0] != 200
    rows, columns = erased.any(2), erased.any(1)
    first = torch.stack([rows.int().argmax(1), columns.int().argmax(1)])
    size = torch.stack([rows.sum(1), columns.sum(1)])
    assert torch.equal(erased.sum((1, 2)), size.prod(0))               # one full rectangle in each
    return first, size


def test_erasing_covers_rectangles_of_the_given_areas_and_proportions():
    first, size = rectangles(RandomErasing(p=1, fill=0.0, area=(0.1, 0.3), aspect=(0.5, 2.0)))
    share = size.prod(0) / 600
    assert 0.085 < share.min() < 0.12
    assert 0.28 < share.max() < 0.33
    assert share.mean() == pytest.approx(0.2, abs=0.01)
    aspect = size[0] / size[1]
    assert 0.4 < aspect.min() < 0.65
    assert 1.6 < aspect.max() < 2.4
    assert aspect.log().mean() == pytest.approx(0, abs=0.05)
    last = first + size
    assert last[0].max() == 30
    assert last[1].max() == 20
    assert first.min() == 0


def test_erasing_makes_flat_what_does_not_fit_and_may_cover_all():
    _, size = rectangles(RandomErasing(p=1, fill=0.0, area=(0.5, 0.5), aspect=(9, 9)))
    assert (size == torch.tensor([[30], [10]])).all()
    _, size = rectangles(RandomErasing(p=1, fill=0.0, area=(1, 1), aspect=(1, 1)))
    assert (size == torch.tensor([[30], [20]])).all()


def test_cutout_is_a_square_whose_centre_is_anywhere():
    cutout = RandomErasing(p=1, area=(0.25, 0.25), aspect=(1, 1), fill=0.0, inside=False)
    first, size = rectangles(cutout, 20, 20)
    assert size.max() == 10
    assert size.min() == 5                                             # half of it sticks out
    centre = torch.where(first > 0, first + 5, first + size - 5)
    assert torch.bincount(centre[0], minlength=20).min() > 50


def test_erasing_fills_with_random_values_the_mean_or_a_value_of_the_range():
    x = some_images(500, 12)
    range_ = PixelRange(-50.0, 250.0)
    settings = {"p": 1, "area": (0.3, 0.3), "aspect": (1, 1)}
    noise = draw(RandomErasing(**settings), x, pixel_range=range_).x
    new = noise[noise != x]
    assert new.mean() == pytest.approx(100, abs=3)
    assert new.std() == pytest.approx(300 / 12 ** 0.5, rel=0.03)
    grey = draw(RandomErasing(fill=0.5, **settings), x, pixel_range=range_).x
    assert grey[grey != x].unique().tolist() == [100.0]
    mean = draw(RandomErasing(fill="mean", **settings), x, pixel_range=range_).x
    for before, after in zip(x, mean, strict=True):
        torch.testing.assert_close(after[after != before].unique(), before.mean().reshape(1))


def test_noise_has_a_deviation_in_units_of_the_range():
    x = torch.full((500, 1, 10, 10), 100.0)
    x[:, :, :5] = 0
    range_ = PixelRange(0.0, 200.0)
    everywhere = draw(GaussianNoise(std=0.05, p=1), x, pixel_range=range_).x - x
    assert everywhere[:, :, 5:].std() == pytest.approx(10, rel=0.03)
    assert (everywhere[:, :, :5] > 0).float().mean() == pytest.approx(0.5, abs=0.02)      # darker than black is black
    foreground = draw(GaussianNoise(std=0.05, p=1, where="foreground"), x, pixel_range=range_).x - x
    assert foreground[:, :, 5:].std() == pytest.approx(10, rel=0.03)
    assert (foreground[:, :, :5] == 0).all()


def test_brightness_multiplies_what_is_above_the_background():
    x = some_images(2000) / 2 + 20
    y = draw(RandomBrightness(strength=0.4, p=1), x, pixel_range=PixelRange(20.0, 1000.0)).x
    factors = ((y - 20) / (x - 20))[:, 0, :, :3]
    torch.testing.assert_close(factors.amin((1, 2)), factors.amax((1, 2)))
    spans(factors.mean((1, 2)), 0.6, 1.4)


# ---------------------------------------------------------------------- mixing

def shares(targets, codes):
    """(n,) how much of each image's target is of its own class, where the partner is of another; and those partners."""
    own = targets.gather(1, codes[:, None])[:, 0]
    return own, targets.scatter(1, codes[:, None], 0.0)


def test_mixup_blends_images_and_targets_by_the_same_share():
    x, codes = some_images(), torch.arange(N) % 7
    batch = draw(MixUp(alpha=1.0), x, codes, range(7))
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(N))
    bright = F.one_hot(codes, 7).float()[:, :, None, None] * 100                   # the class can be read in the image
    batch = draw(MixUp(alpha=1.0), bright, codes, range(7))
    torch.testing.assert_close(batch.x[:, :, 0, 0] / 100, batch.targets)
    assert batch.targets.amax(1).min() < 0.51


@pytest.mark.parametrize("mixer", [MixUp(alpha=1.0, p=0.4), CutMix(p=0.4)])
def test_images_that_are_not_chosen_keep_their_targets(mixer):
    codes = torch.arange(N) % 7
    x = F.one_hot(codes, 7).float()[:, :, None, None].repeat(1, 1, 6, 6)
    batch = draw(mixer, x, codes, range(7))
    same = (batch.x == x).all(dim=(1, 2, 3))
    assert same.float().mean() > 0.5
    assert torch.equal(batch.targets[same], F.one_hot(codes[same], 7).float())
    assert (batch.targets.gather(1, codes[:, None])[~same] < 1).all()


def test_mixup_shares_are_beta_distributed():
    codes = torch.arange(N) % 2
    for alpha in (0.3, 1.0, 4.0):
        found = draw(MixUp(alpha=alpha), torch.eye(2)[codes][:, :, None, None], codes, range(2)).x[:, :, 0, 0]
        own = found.gather(1, codes[:, None])[:, 0]
        own = own[own < 1]                                  # partners of the other class
        assert len(own) == pytest.approx(N / 2, rel=0.1)
        assert own.mean() == pytest.approx(0.5, abs=0.03)
        assert own.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_tiny_alphas_leave_images_nearly_alone_or_take_the_partner():
    codes = torch.arange(N) % 2
    for alpha in (1e-3, 1e-6):
        found = draw(MixUp(alpha=alpha), torch.eye(2)[codes][:, :, None, None], codes, range(2)).x[:, :, 0, 0]
        own = found.gather(1, codes[:, None])[:, 0]
        assert ((own > 0.01) & (own < 0.99)).float().mean() < 0.02
        assert own.isfinite().all()


def test_cutmix_pastes_a_rectangle_of_the_partner_at_its_place():
    codes = torch.arange(N) % 5
    place = torch.arange(100.0).reshape(1, 1, 10, 10)
    batch = draw(CutMix(), (place + 1000 * codes[:, None, None, None]), codes, range(5))
    assert torch.equal(batch.x % 1000, place.expand(N, 1, 10, 10))
    of_class = (batch.x // 1000)[:, 0]
    for code in range(5):
        torch.testing.assert_close((of_class == code).float().mean((1, 2)), batch.targets[:, code])
    pasted = of_class != codes[:, None, None]
    rows, columns = pasted.any(2).sum(1), pasted.any(1).sum(1)
    assert torch.equal(pasted.sum((1, 2)), rows * columns)
    has_any = rows > 0
    assert has_any.float().mean() == pytest.approx(0.8, abs=0.05)      # partners of the same class cannot be seen
    assert pasted.any(0).all()


def test_partners_are_another_image_each_and_of_the_classes_that_may_be_changed():
    n = 300
    codes = torch.arange(n) % 3
    for params, may in (({}, {0, 1, 2}), ({"exclude": ["shoe"]}, {0, 1}), ({"only": ["coat"]}, {1})):
        identity = torch.eye(n)[:, :, None, None]
        batch = draw(MixUp(alpha=1.0, **params), identity, codes)
        parts = batch.x[:, :, 0, 0]
        mixed = (parts > 0).sum(1) > 1
        assert {code.item() for code in codes[mixed].unique()} == may
        partner = parts.clone().fill_diagonal_(0)[mixed].argmax(1)
        assert {code.item() for code in codes[partner].unique()} == may
        assert len(partner.unique()) == len(partner)


def test_a_single_image_is_its_own_partner():
    batch = draw([MixUp(), CutMix()], some_images(1))
    torch.testing.assert_close(batch.x, some_images(1))
    assert batch.targets.tolist() == [[1, 0, 0]]


def test_mixed_images_with_a_part_of_an_excluded_class_are_left_alone_afterwards():
    codes = torch.arange(600) % 3
    x = F.one_hot(codes, 3).float()[:, :, None, None].repeat(1, 1, 1, 2) * torch.tensor([1.0, 0.0])
    batch = draw([MixUp(alpha=1.0), RandomHorizontalFlip(p=1, exclude=["shoe"])], x, codes)
    mirrored = batch.x[..., 1].sum((1, 2)) > 0
    assert torch.equal(mirrored, batch.targets[:, 2] == 0)


def test_weights_are_mixed_so_that_the_loss_is_the_weighted_mean_of_two():
    n = 200
    codes, weights = torch.arange(n) % 3, torch.rand(n, generator=torch.Generator().manual_seed(0)) * 3
    batch = draw(MixUp(alpha=1.0), torch.eye(n)[:, :, None, None], codes, weights=weights)
    share = batch.x[:, :, 0, 0]                                        # (n, n): how much of which image
    logits = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    each = torch.stack([F.cross_entropy(logits, codes[i].expand(n), reduction="none") for i in range(n)], 1)
    expected = (share * weights * each).sum(1)
    torch.testing.assert_close(F.cross_entropy(logits, batch.targets, reduction="none") * batch.weights, expected)


def test_training_on_mixed_images_counts_the_larger_share_as_the_label(tiny_images):
    X, y = tiny_images()
    classifier = small("ImageClassifier", augment=MixUp(alpha=0.4), max_epochs=60).fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert 0.8 < classifier.history_[-1, "train_acc"] <= 1
    assert classifier.history_[-1, "train_loss"] > 0.1                 # soft targets cannot be met for nothing


@pytest.mark.parametrize("mixer", [MixUp(alpha=1.0, random_state=0), CutMix(random_state=0)])
def test_in_a_pipeline_images_are_mixed_within_their_class(mixer, tiny_images):
    n = 90
    y = np.arange(n) % 3
    X = np.zeros((n, 4, 4), np.uint8)
    X[:] = (60 * y + 10 + np.arange(n) // 3)[:, None, None]            # 30 images of a class, within 30 values
    mixed = mixer.fit_transform(X, y)
    assert mixed.dtype == np.uint8
    assert (mixed != X).any((1, 2)).mean() > 0.7
    np.testing.assert_array_equal((mixed.astype(int) - 10) // 60, np.broadcast_to(y[:, None, None], X.shape))
    with pytest.raises(ValueError, match="mixes images of one class and needs y, the labels, got y=None"):
        mixer.fit_transform(X)


# ---------------------------------------------------------------------- stored copies

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
    sizes = []

    class Spy(ImageClassifier):
        def _run_phase(self, index, train, valid, *args):
            sizes.append((len(train), len(valid)))
            copies = train.pixels[train.rows[48:]]
            np.testing.assert_array_equal(copies, train.pixels[train.rows[:48]].flip(-1))
            assert set(train.rows.tolist()).isdisjoint(valid.rows.tolist())
            assert torch.equal(train.y[:48], train.y[48:])
            return super()._run_phase(index, train, valid, *args)

    params = small("ImageClassifier", max_epochs=2, validation_fraction=12).get_params(deep=False)
    classifier = Spy(**{**params, "augment": [AugmentedCopies(), RandomCrop(padding=1)]}).fit(X, y)
    assert sizes == [(96, 12)]
    assert classifier.history_[-1, "train_batch_count"] == 3


def test_copies_have_the_weights_of_their_originals(tiny_images):
    X, y = tiny_images([0, 1])
    wrong = np.where(np.arange(60) < 30, 1 - y, y)
    weights = np.where(np.arange(60) < 30, 0.01, 1.3)
    copies = AugmentedCopies(transformer=RandomCrop(padding=1))
    assert (small("ImageClassifier", augment=copies).fit(X, wrong, weights).predict(X) == y).mean() > 0.9
    images = Images(torch.from_numpy(X)[:, None], torch.from_numpy(y), torch.arange(60) / 7, torch.arange(20, 60))
    larger = AugmentedCopies().enlarge(images, np.array([0, 1]), torch.Generator(), PixelRange(0.0, 255.0))
    assert torch.equal(larger.weights[larger.rows], (torch.arange(20, 60) / 7).repeat(2))


def test_copies_in_the_pipeline_of_imbalanced_learn(tiny_images):
    X, y = tiny_images()
    X = X.reshape(60, -1)
    net = small("ConvNetClassifier", max_epochs=4)
    model = make_pipeline(AugmentedCopies(), net).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), net.fit(*AugmentedCopies().fit_resample(X, y))
                                  .predict_proba(X))


@pytest.mark.parametrize(("params", "message"), [
    ({"fraction": 0}, "fraction must be above 0, got fraction=0"),
    ({"fraction": 1.5}, "The 'fraction' parameter of AugmentedCopies"),
    ({"transformer": AugmentedCopies()}, "other than AugmentedCopies"),
    ({"transformer": []}, r"transformer must change the copies .* got transformer=\[\]"),
    ({"only": [9]}, r"only must name labels that occur in y \(\[0, 1, 2\]\), got only=\[9\]"),
])
def test_copies_refuse_what_makes_no_sense(params, message, tiny_images):
    with pytest.raises(ValueError, match=message):
        AugmentedCopies(**params).fit_resample(*tiny_images())
    with pytest.raises(ValueError, match=message):
        small("ImageClassifier", augment=AugmentedCopies(**params)).fit(*tiny_images())


@pytest.mark.parametrize(("transformer", "message"), [
    (RandomErasing(area=(0.5, 0.1)), r"area must be two shares from above 0 to 1, the smaller first, got area=\(0.5"),
    (RandomErasing(area=(0, 0.5)), "area must be two shares"),
    (RandomErasing(area=(0.1, 1.5)), "area must be two shares"),
    (RandomErasing(aspect=(-1, 2)), "aspect must be two positive numbers"),
    (RandomErasing(aspect=("a", "b")), "aspect must be two positive numbers"),
    (RandomErasing(fill="black"), "The 'fill' parameter of RandomErasing"),
    (RandomErasing(fill=2.0), "The 'fill' parameter of RandomErasing"),
    (GaussianNoise(std=-1), "The 'std' parameter of GaussianNoise"),
    (GaussianNoise(where="here"), "The 'where' parameter"),
    (RandomBrightness(strength=2), "The 'strength' parameter"),
    (RandomAffine(zoom=1.0), "The 'zoom' parameter"),
    (RandomAffine(shear=90), "The 'shear' parameter"),
    (MixUp(alpha=0), "The 'alpha' parameter of MixUp"),
    (CutMix(p=2), "The 'p' parameter of CutMix"),
])
def test_bad_settings_are_refused(transformer, message, tiny_images):
    X, y = tiny_images()
    for attempt in (lambda: transformer.fit_transform(X, y),
                    lambda: small("ImageClassifier", augment=transformer).fit(X, y)):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_a_batch_knows_which_images_are_wholly_of_some_classes():
    allowed = torch.tensor([True, False, True])
    hard = Batch(torch.zeros(3, 1, 1, 1), torch.tensor([0, 1, 2]))
    assert hard.are_all_of(allowed).tolist() == [True, False, True]
    soft = Batch(hard.x, hard.codes, targets=torch.tensor([[0.5, 0.0, 0.5], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]]))
    assert soft.are_all_of(allowed).tolist() == [True, False, False]
