"""Every channel has its own range and background: in training, in views, and in the warning about other ranges."""
import warnings

import numpy as np
import pytest
import torch
from augmented import draw
from estimators import AUGMENTERS, net, small
from fashion import real_data
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler

from fmnist_sk import AugmentedCopies, RandomAffine, RandomBrightness, RandomCrop, RandomErasing, load_fashion_mnist
from fmnist_sk._data.ranges import learn_pixels

# Of each channel: constant, black on white, white on black, and a narrow range about a middle background.
BACKGROUND = torch.tensor([255.0, 255.0, 0.0, 100.0])


def garments(n=40, size=8):
    """Images (n, 4, size, size) float, of something in their middle."""
    x = BACKGROUND[:, None, None].expand(n, 4, size, size).clone()
    shown = torch.rand(n, 1, size - 4, size - 4, generator=torch.Generator().manual_seed(0))
    x[:, 1:2, 2:-2, 2:-2] -= (200 * shown).round()
    x[:, 2:3, 2:-2, 2:-2] += (200 * shown).round()
    x[:, 3:4, 2:-2, 2:-2] += (4 * shown).round() - 2
    return x


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_ranges_and_backgrounds_are_those_of_the_channels(dtype):
    x = garments().to(dtype)
    found = learn_pixels(x)
    assert found.background == tuple(BACKGROUND.tolist())
    np.testing.assert_array_equal([found.low, found.high], [x.amin((0, 2, 3)), x.amax((0, 2, 3))])
    rows = torch.arange(40).repeat_interleave(torch.arange(40) % 3)
    assert learn_pixels(x, rows) == learn_pixels(x[rows])


def test_what_is_learned_does_not_depend_on_the_order_of_rows_and_weights_are_repetitions(tiny_images):
    X, y = tiny_images(channels=3)
    order, weights = np.random.default_rng(0).permutation(60), np.arange(60) % 3
    models = [net(max_epochs=1).fit(*data) for data in (
        (X, y), (X[order], y[order]), (X, y, weights), (X.repeat(weights, axis=0), y.repeat(weights)))]
    statistics = [model._encoder.pixels for model in models]
    assert statistics[0] == statistics[1]
    assert statistics[2] == statistics[3]


def ranges():
    return learn_pixels(garments()).on("cpu")


@pytest.mark.parametrize("step", [RandomCrop(padding=2), RandomAffine(shift=0.3, zoom=0, rotation=40.0)], ids=repr)
def test_what_comes_in_is_the_background_of_its_channel(step):
    x, y = garments(), draw(step, garments(), range_=ranges()).x
    assert not torch.equal(x, y)
    torch.testing.assert_close(y[:, 0], x[:, 0])                # constant: no edge appears
    for channel, low, high in ((1, 55, 255), (2, 0, 200), (3, 98, 102)):
        assert low - 1e-3 <= y[:, channel].min()
        assert y[:, channel].max() <= high + 1e-3


@pytest.mark.parametrize("name", AUGMENTERS)
def test_no_transformer_changes_a_constant_channel_or_leaves_the_range_of_another(name):
    x = garments()
    y = draw(small(name, p=1.0), x, range_=ranges()).x
    torch.testing.assert_close(y[:, 0], x[:, 0])
    for channel in range(4):
        assert x[:, channel].min() - 1e-3 <= y[:, channel].min()
        assert y[:, channel].max() <= x[:, channel].max() + 1e-3
    drawn = small(name, p=1.0, random_state=0).fit_transform(x.numpy(), np.arange(40) % 2)      # in a Pipeline
    np.testing.assert_allclose(drawn[:, 0], 255)


def test_brightness_counts_from_the_background_and_a_fill_of_1_is_farthest_from_it():
    x = garments()
    y = draw(RandomBrightness(strength=0.5, p=1), x, range_=ranges()).x
    assert torch.equal(y[:, :, 0], x[:, :, 0])                                                  # background
    factor = (y[:, 1, 3, 3] - 255) / (x[:, 1, 3, 3] - 255).clamp(max=-1)
    assert ((factor < 0.9) & (x[:, 1, 3, 3] < 250)).any()
    y = draw(RandomErasing(p=1, area=(1, 1), aspect=(1, 1), fill=1.0), x, range_=ranges()).x
    expected = torch.stack([torch.full_like(x[:, 0], 255), x[:, 1].amin().expand_as(x[:, 1]),
                            x[:, 2].amax().expand_as(x[:, 2]), y[:, 3]], 1)
    torch.testing.assert_close(y, expected)
    assert y[:, 3].unique().tolist() in ([98.0], [102.0])


def test_stored_copies_have_the_background_of_each_channel():
    X = garments().byte().numpy()
    more, _ = AugmentedCopies(transformer=[RandomCrop(padding=3)], random_state=0).fit_resample(X, np.arange(40) % 2)
    assert len(more) == 80
    assert (more[:, 0] == 255).all()
    assert (more[:, 1].max(), more[:, 2].min()) == (255, 0)


@pytest.mark.parametrize("value", [0, 200])
def test_small_rows_and_views_are_filled_up_with_the_background(value, tiny_images):
    X, y = tiny_images(size=4)
    X[:, 0] = X[:, -1] = X[:, :, 0] = X[:, :, -1] = value
    model = small("ConvNetClassifier", architecture="4C3valid-4C3valid-4C3valid-4C3valid", max_epochs=1, tta="shift",
                  batch_size=60)
    with pytest.warns(UserWarning, match="padded to 9 x 9.* too small for it: enlarge them"):
        model.fit(X.reshape(60, 16), y)
    inputs = []
    model.module_.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    model.predict(X.reshape(60, 16))
    assert [len(x) for x in inputs] == [60] * 5
    for x in inputs:
        assert (x[:, :, 5:] == value).all()
        assert (x[:, :, :, 5:] == value).all()


def test_advice_to_take_a_network_with_fewer_poolings_works(tiny_images):
    X, y = tiny_images(size=9)
    flat = X.reshape(60, 81)
    deep, flatter = (small("ConvNetClassifier", max_epochs=1, architecture=f"4C3{pool}4C3{pool}4C3", padding="valid")
                     for pool in ("-MP2-", "-"))
    with pytest.warns(UserWarning, match="enlarge them, or use a network with fewer poolings"):
        deep.fit(flat, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flatter.fit(flat, y)
        deep.fit(np.kron(X, np.ones((2, 2), dtype=np.uint8)), y)


# ---------------------------------------------------------------------- channels last

@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
@pytest.mark.parametrize("sides", [(8, 8), (8, 12), (28, 20)])
def test_channels_that_come_last_are_refused(n_channels, sides, tiny_images):
    X = np.zeros((6, *sides, n_channels), dtype=np.uint8)
    for images in (X, torch.from_numpy(X)):
        with pytest.raises(ValueError, match=r"got the channels last: .* Pass X.transpose\(0, 3, 1, 2\)"):
            net(max_epochs=1).fit(images, np.arange(6) % 2)


@pytest.mark.parametrize("shape", [(2, 8, 8), (5, 8, 8), (17, 6, 4), (16, 4, 4), (6, 2, 2), (4, 4, 4)])
def test_images_may_have_any_number_of_channels(shape):
    X = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    assert net(max_epochs=1).fit(X, np.arange(20) % 2).image_shape_ == shape


def test_a_shape_that_is_named_is_believed():
    X = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 4), dtype=np.uint8)
    for shape in ((28, 28, 4), [28, 28, 4]):
        assert net(max_epochs=1, image_shape=shape).fit(X, np.arange(20) % 2).image_shape_ == (28, 28, 4)


# ---------------------------------------------------------------------- the warning about another range

@pytest.fixture(scope="module")
def fashion():
    X, y = load_fashion_mnist("train", return_X_y=True)
    return X[:3000].astype(np.float32), y[:3000], X[50000:51000].astype(np.float32)


@real_data
def test_validation_data_of_another_range_are_named(fashion):
    X, y, new = fashion
    network = small("ConvNetClassifier", max_epochs=1, validation_data=(new / 255, y[:1000]))
    with pytest.warns(UserWarning, match="^validation_data holds values from 0 to 1, but .* scale validation_data as"):
        network.fit(X, y)


def warns(model, X):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.predict(X)
    return sum("scale X as the training images were" in str(warning.message) for warning in seen)


@real_data
@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), RobustScaler(), PowerTransformer()], ids=repr)
def test_scalers_of_single_pixels_cause_no_warning(scaler, fashion):
    X, y, new = fashion
    model = make_pipeline(scaler, small("ConvNetClassifier", max_epochs=1)).fit(X[:, ::7], y)
    assert warns(model, new[:, ::7]) == 0
    assert sum(warns(model, image[None, ::7]) for image in new[:200]) <= 2


@real_data
@pytest.mark.parametrize(("fitted", "given"), [(1, 1 / 255), (1 / 255, 1), (1 / 127.5, 1), (1, 1 / 127.5)])
def test_another_scale_is_warned_of_also_for_one_image(fitted, given, fashion):
    X, y, new = fashion
    model = small("ConvNetClassifier", max_epochs=1).fit(X * fitted, y)
    assert warns(model, new * fitted) == 0
    assert warns(model, new * given) == 1
    assert sum(warns(model, image[None] * fitted) for image in new[:200]) == 0
    assert sum(warns(model, image[None] * given) for image in new[:200]) >= 190


@pytest.mark.parametrize(("fitted", "given"), [(1, 1 / 255), (1 / 255, 1), (1 / 127.5, 1)])
def test_another_scale_is_warned_of_also_for_drawings_that_are_mostly_background(fitted, given):
    X = np.zeros((200, 28, 28), np.float32)
    X[:, 8:20, 8:20] = np.random.default_rng(0).integers(1, 256, (200, 12, 12))         # 18 % of the pixels
    offset = -1 if fitted == 1 / 127.5 else 0
    model = net(max_epochs=1).fit(X * fitted + offset, np.arange(200) % 2)
    broken = np.zeros((1, 28, 28), np.float32)
    broken[0, 3, 3] = 1e4
    for images in (X, X[:1]):
        assert warns(model, images * given) == 1
        assert warns(model, images * fitted + offset) == 0
    assert warns(model, broken * fitted + offset) == 0
    assert warns(model, broken[:, ::-1] + X[:1] * fitted + offset) == 0


@real_data
def test_no_warning_for_dark_images_and_for_images_that_are_nearly_all_background(fashion):
    X, y, new = fashion
    sparse = np.where(np.arange(784) % 97 == 0, X, 0)
    model = small("ConvNetClassifier", max_epochs=1).fit(sparse, y)
    assert warns(model, new * (np.arange(784) % 97 == 0)) == 0
    assert warns(small("ConvNetClassifier", max_epochs=1).fit(X, y), new / 10) == 0
