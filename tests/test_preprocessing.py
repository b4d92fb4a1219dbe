"""ImageScaler and ImageStandardizer."""
import numpy as np
import pandas as pd
import pytest
import torch

from fmnist_sk import ImageScaler, ImageStandardizer


def test_scaler_maps_bytes_to_zero_and_one(tiny_images):
    X, _ = tiny_images()
    X[0, 0, :2] = 0, 255
    scaled = ImageScaler().fit_transform(X)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, X / 255, atol=1e-6)
    symmetric = ImageScaler(feature_range=(-1, 1)).fit(X)
    np.testing.assert_allclose(symmetric.transform(X), X / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(symmetric.inverse_transform(symmetric.transform(X)), X, atol=1e-3)


def test_standardizer_gives_mean_zero_and_deviation_one(tiny_images):
    for X, axes in ((tiny_images()[0], None), (tiny_images(channels=3)[0], (0, 2, 3))):
        if axes:
            X[:, 2] //= 4
        for kind in (np.uint8, np.float64):
            step = ImageStandardizer().fit(X.astype(kind))
            Z = step.transform(X.astype(kind))
            np.testing.assert_allclose(Z.mean(axes), 0, atol=1e-5)
            np.testing.assert_allclose(Z.std(axes), 1, atol=1e-5)
            np.testing.assert_allclose(step.inverse_transform(Z), X, atol=1e-3)


def test_standardizer_keeps_its_digits_far_from_zero():
    X = 1000 + np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)
    step = ImageStandardizer().fit(X)
    assert step.scale_[0] == pytest.approx(X.std(dtype=np.float64), rel=1e-4)


@pytest.mark.parametrize("Step", [ImageScaler, ImageStandardizer])
def test_arrays_frames_and_tensors_agree(Step, tiny_images):
    X, _ = tiny_images()
    flat = X.reshape(60, -1)
    expected = Step().fit_transform(flat)
    for images in (pd.DataFrame(flat).add_prefix("p"), torch.from_numpy(flat), torch.from_numpy(X), X):
        step = Step().fit(images)
        result = step.transform(images)
        assert type(result) is type(images)
        np.testing.assert_allclose(np.asarray(result).reshape(60, -1), expected, atol=1e-6)
        assert type(step.inverse_transform(result)) is type(images)
    assert Step().fit_transform(torch.from_numpy(flat).double()).dtype == torch.float64


@pytest.mark.parametrize("Step", [ImageScaler, ImageStandardizer])
def test_constant_images_are_only_shifted(Step):
    result = Step().fit_transform(np.full((5, 16), 7.0))
    np.testing.assert_array_equal(result, np.zeros((5, 16)))


def test_channels_need_the_shape_of_the_fit():
    step = ImageStandardizer().fit(np.random.default_rng(0).random((5, 3, 4, 4)))
    for shape in ((5, 48), (5, 1, 12, 4), (5, 12, 4)):
        with pytest.raises(ValueError, match=r"X must hold images of shape \(3, 4, 4\)"):
            step.transform(np.zeros(shape))


def test_feature_range_must_be_a_range(tiny_images):
    with pytest.raises(ValueError, match=r"feature_range must be two finite numbers, .*got .*\(1, 0\)"):
        ImageScaler(feature_range=(1, 0)).fit(tiny_images()[0])
    with pytest.raises(ValueError, match="feature_range must be two finite numbers"):
        ImageScaler(feature_range=(0, float("inf"))).fit(tiny_images()[0])


def test_a_large_mean_keeps_its_digits():
    X = np.full((20, 4, 4), 123_456_789.0)
    X[::2] += 1
    X[1::2] -= 1
    standard = ImageStandardizer().fit_transform(X)
    assert (standard.mean(), standard.std()) == (0.0, 1.0)
