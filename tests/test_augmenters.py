"""What each random transformer does to images and targets."""
import numpy as np
import pytest
import torch
from augmented import N, draw, pixel_range, some_images
from estimators import small

from fmnist_sk import (
    CutMix,
    GaussianNoise,
    MixUp,
    RandomAffine,
    RandomBrightness,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
)

# ---------------------------------------------------------------------- geometry


def test_flip_mirrors_left_to_right():
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    torch.testing.assert_close(draw(RandomHorizontalFlip(p=1), x).x, x.flip(-1))


def test_crop_shifts_in_both_directions_equally_often_and_fills_with_background():
    x = torch.full((N, 2, 7, 7), 9.0)
    x[:, :, 3, 3] = 200
    y = draw(RandomCrop(padding=2), x, range_=pixel_range(5.0, 255.0)).x
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


def test_a_crop_from_far_outside_takes_no_more_memory_than_the_images():
    x = torch.rand(N, 1, 7, 9)
    y = draw(RandomCrop(padding=10_000, p=0.5), x, range_=pixel_range(-5.0, 255.0)).x
    changed = (y != x).flatten(1).any(1)
    assert 0.4 < changed.float().mean() < 0.6
    assert (y[changed] == -5).float().mean() > 0.99


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
    return moments(draw(RandomAffine(**{**nothing, **params}), bar(), range_=pixel_range(10.0, 210.0)).x)


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
    x = draw(RandomAffine(shift=0, zoom=0, shear=20.0), bar().mT.contiguous(), range_=pixel_range(10.0, 210.0)).x
    down = torch.arange(56.0) - 27.5
    weight = x[:, 0] - 10
    middle = (weight * (torch.arange(40.0) - 19.5)).sum(2) / weight.sum(2)          # of each row, where there is any
    slope = (middle * down)[:, 18:38].sum(1) / (down ** 2)[18:38].sum()
    spans(torch.rad2deg(slope.atan()), -20, 20)
    torch.testing.assert_close(weight.sum(2), (bar().mT[:, 0] - 10).sum(2), rtol=0.01, atol=0.5)


def test_affine_fills_with_background():
    x = torch.full((50, 1, 8, 8), 100.0)
    y = draw(RandomAffine(shift=1.0, zoom=0), x, range_=pixel_range(10.0, 210.0)).x
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
    range_ = pixel_range(-50.0, 250.0)
    settings = {"p": 1, "area": (0.3, 0.3), "aspect": (1, 1)}
    noise = draw(RandomErasing(**settings), x, range_=range_).x
    new = noise[noise != x]
    assert new.mean() == pytest.approx(100, abs=3)
    assert new.std() == pytest.approx(300 / 12 ** 0.5, rel=0.03)
    grey = draw(RandomErasing(fill=0.5, **settings), x, range_=range_).x
    assert grey[grey != x].unique().tolist() == [100.0]
    mean = draw(RandomErasing(fill="mean", **settings), x, range_=range_).x
    for before, after in zip(x, mean, strict=True):
        torch.testing.assert_close(after[after != before].unique(), before.mean().reshape(1))


def test_noise_has_a_deviation_in_units_of_the_range():
    x = torch.full((500, 1, 10, 10), 100.0)
    x[:, :, :5] = 0
    range_ = pixel_range(0.0, 200.0)
    everywhere = draw(GaussianNoise(std=0.05, p=1), x, range_=range_).x - x
    assert everywhere[:, :, 5:].std() == pytest.approx(10, rel=0.03)
    assert (everywhere[:, :, :5] > 0).float().mean() == pytest.approx(0.5, abs=0.02)      # darker than black is black
    foreground = draw(GaussianNoise(std=0.05, p=1, where="foreground"), x, range_=range_).x - x
    assert foreground[:, :, 5:].std() == pytest.approx(10, rel=0.03)
    assert (foreground[:, :, :5] == 0).all()


def test_brightness_multiplies_what_is_above_the_background():
    x = some_images(2000) / 2 + 20
    y = draw(RandomBrightness(strength=0.4, p=1), x, range_=pixel_range(20.0, 1000.0)).x
    factors = ((y - 20) / (x - 20))[:, 0, :, :3]
    torch.testing.assert_close(factors.amin((1, 2)), factors.amax((1, 2)))
    spans(factors.mean((1, 2)), 0.6, 1.4)


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
