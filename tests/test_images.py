"""Images and rows as a classifier takes them: shapes, ranges, order, copies."""
import numpy as np
import pytest
import torch
from estimators import Looks, net

from fmnist_sk import ConvNetClassifier
from fmnist_sk._data.images import Batches, LabelledImages


def test_flat_rows_become_the_square_they_fill(tiny_images):
    X, y = tiny_images()
    flat = X.reshape(60, -1)
    with pytest.warns(UserWarning, match="rows of 60 values, which fill no square image: they are padded to 8 x 8"):
        classifier = net(max_epochs=1).fit(flat[:, :60], y)
    assert classifier.image_shape_ == (1, 8, 8)
    oblong = net(max_epochs=1, image_shape=(4, 16)).fit(flat, y)
    assert oblong.image_shape_ == (1, 4, 16)
    assert oblong.predict(X.reshape(60, 4, 16)).shape == (60,)


def test_small_flat_rows_are_padded_small_images_raise():
    rng = np.random.default_rng(0)
    deep = ConvNetClassifier(architecture="4C3-MP2-4C3-MP2-4C3", padding="valid", max_epochs=1)
    y = np.arange(20) % 2
    with pytest.raises(ValueError, match="needs images of at least 18 x 18 pixels, got 9 x 20"):
        deep.fit(rng.random((20, 9, 20)), y)
    with pytest.warns(UserWarning, match="X has rows") as told:     # of one thing: no shape is large enough
        deep.fit(rng.random((20, 75)), y)
    assert [str(warning.message)[:38] for warning in told] == ["X has rows of 75 values, which are pad"]
    assert deep.fit(rng.random((20, 81)), y).predict(rng.random((20, 81))).shape == (20,)
    assert deep.fit(rng.random((20, 18, 18)), y).image_shape_ == (1, 18, 18)


class Table:
    """A frame that knows its shape but not its number of dimensions, as those of polars."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape
        self.columns = [f"pixel{i}" for i in range(values.shape[1])]

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


def test_frames_of_any_kind_are_fitted_and_predicted(tiny_images):
    X, y = tiny_images()
    table = Table(X.reshape(60, 64))
    model = net(max_epochs=1).fit(table, y)
    np.testing.assert_array_equal(model.predict_proba(table), model.predict_proba(X))


def test_warns_when_asked_about_another_range_of_values(tiny_images, recwarn):
    X, y = tiny_images()
    raw, scaled = net(max_epochs=1).fit(X, y), net(max_epochs=1).fit(X / 255.0, y)
    raw.predict(X[:1])
    raw.predict(np.zeros_like(X))
    scaled.predict(X[:1] / 255.0)
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    with pytest.warns(UserWarning, match="values from 0 to .*was fitted on values from 0 to .*: scale X"):
        raw.predict(X / 255.0)
    with pytest.warns(UserWarning, match="scale X"):
        raw.predict((X - 72.0) / 90)
    with pytest.warns(UserWarning, match="scale X"):
        scaled.predict(X)
    with pytest.warns(UserWarning, match="scale X"):
        raw.partial_fit(X / 255.0, y)
    with pytest.warns(UserWarning, match="scale validation_data"):
        net(max_epochs=1, validation_data=(X / 255.0, y)).fit(X, y)


def test_standardize_makes_training_independent_of_scale_and_travels_with_the_module(tiny_images):
    X, y = tiny_images()
    raw = net(max_epochs=3, precision="fp32").fit(X, y)
    layer = raw.module_.standardize
    np.testing.assert_allclose([layer.mean.item(), layer.std.item()], [X.mean(), X.std()], rtol=1e-5)
    assert {"standardize.mean", "standardize.std"} <= set(raw.module_.state_dict())
    assert "standardize" not in dict(net(max_epochs=1, standardize=False).fit(X, y).module_.named_children())
    colour, y = tiny_images(channels=3)
    colour[:, 1] //= 3
    layer = net(max_epochs=1).fit(colour, y).module_.standardize
    np.testing.assert_allclose(layer.mean.flatten(), colour.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(layer.std.flatten(), colour.std((0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1 / 255, 0), (1 / 127.5, -1), (1e38, -5e37)])
def test_min_max_gives_the_network_pixels_from_0_to_1(tiny_images, scale, shift):
    X, y = tiny_images()
    X = X if scale == 1 else (X / 255.0 if scale == 1e38 else X) * np.float32(scale) + np.float32(shift)
    classifier = net(max_epochs=1, standardize="min_max").fit(X, y)
    seen = classifier.module_.standardize(torch.from_numpy(np.asarray(X, "float32"))[:, None])
    assert (seen.min().item(), seen.max().item()) == pytest.approx((0, 1), abs=1e-6)
    first = classifier.partial_fit(X, y)
    assert first is classifier
    with pytest.raises(ValueError, match="'standardize' parameter"):
        net(standardize="unit").fit(X, y)


def test_data_stay_bytes_and_are_not_copied(tiny_images):
    X, y = tiny_images()
    looks = Looks()
    net(max_epochs=1, device="cpu", callbacks=[looks]).fit(X, y, sample_weight=np.arange(60) % 3)
    assert looks.train.pixels.dtype == torch.uint8
    assert np.shares_memory(looks.train.pixels.numpy(), X)


def test_row_order_does_not_matter(tiny_images):
    X, y = tiny_images()
    order = np.random.default_rng(0).permutation(60)
    a, b = net(max_epochs=2).fit(X, y), net(max_epochs=2).fit(X[order], y[order])
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_duplicates_are_kept():
    X, y = np.tile(np.arange(128, dtype=np.uint8).reshape(2, 64), (10, 1)), np.arange(20) % 2
    looks = Looks()
    net(max_epochs=1, callbacks=[looks]).fit(X, y)
    assert len(looks.train) == 20


def test_a_last_batch_of_one_joins_the_one_before():
    data = LabelledImages(torch.zeros(9, 1, 2, 2), torch.zeros(9, dtype=torch.long), np.arange(2))
    sizes = [len(codes) for _, codes in Batches(data, 4, torch.Generator())]
    assert sizes == [4, 5]
    assert [len(codes) for _, codes in Batches(data, 4)] == [4, 4, 1]
