"""The pictures of what a network sees, and Grad-CAM, show what they say."""
import numpy as np
import pytest
import torch
from estimators import small

from fmnist_sk import FeatureMapsDisplay, FiltersDisplay, GradCAMDisplay, grad_cam, summary

pytestmark = pytest.mark.usefixtures("no_window")


@pytest.fixture(scope="module")
def fitted(named_images):
    return small("ConvNetClassifier", max_epochs=2, lr=1e-3).fit(*named_images)


def test_feature_maps_have_a_row_for_each_layer(fitted, named_images):
    X, _ = named_images
    display = FeatureMapsDisplay.from_estimator(fitted, X[:1], n_channels=2)
    layers = summary(fitted)
    wanted = layers.index[layers.type.isin(["Conv2d", "MaxPool2d"])]
    assert list(display.maps) == list(wanted)
    assert display.ax_.shape == (len(wanted), 3)
    maps = display.maps[wanted[0]]
    size = f"{len(maps)} maps, {maps.shape[1]} x {maps.shape[2]}"
    assert display.ax_[0, 1].get_ylabel() == f"{wanted[0]}\nConv2d\n2 of {size}"
    everything = FeatureMapsDisplay.from_estimator(fitted, X[:1], n_channels=len(maps))
    assert everything.ax_[0, 1].get_ylabel() == f"{wanted[0]}\nConv2d\n{size}"
    single = small("ConvNetClassifier", architecture="1C3-4N", max_epochs=1).fit(*named_images)
    assert "\n1 map, " in FeatureMapsDisplay.from_estimator(single, X[:1]).ax_[0, 1].get_ylabel()
    with pytest.raises(ValueError, match=r"X must hold one image, such as images\[:1\], got 60"):
        FeatureMapsDisplay.from_estimator(fitted, X)
    with pytest.raises(ValueError, match=r"layers must give maps \(channels, height, width\), but \['head'\] do not"):
        FeatureMapsDisplay.from_estimator(fitted, X[:1], layers=["head"])


def test_filters_are_the_weights(fitted, tiny_images):
    display = FiltersDisplay.from_estimator(fitted)
    weights = next(fitted.module_.parameters()).detach().numpy()
    np.testing.assert_array_equal(display.filters, weights)
    shown = [axis.get_images()[0].get_array() for axis in display.ax_.flat if axis.get_images()]
    np.testing.assert_array_equal(np.array(shown), weights[:, 0])
    X, y = tiny_images(channels=3)
    color = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    image = FiltersDisplay.from_estimator(color).ax_[0, 0].get_images()[0].get_array()
    assert image.shape[2] == 3
    assert image.min() >= 0
    assert image.max() <= 1
    with pytest.raises(ValueError, match="layer must name a convolution with one or three input channels, got "
                                         "layer='head'"):
        FiltersDisplay.from_estimator(fitted, layer="head")


def test_grad_cam_sees_the_patch_that_makes_the_class(tiny_images):
    """A class is a bright patch in its own corner: that is where its evidence lies."""
    X, y = tiny_images([0, 1], n=200, size=16)
    model = small("ConvNetClassifier", architecture="8C3-8C3-GAP", max_epochs=15, lr=1e-2).fit(X, y)
    assert model.score(X, y) > 0.9
    maps = grad_cam(model, X, y)
    assert maps.shape == X.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == 1
    found = [maps[y == 0].mean(0), maps[y == 1].mean(0)]
    inside = [found[0][:8, :8].mean(), found[1][8:, 8:].mean()]
    outside = [found[0][8:, 8:].mean(), found[1][:8, :8].mean()]
    assert min(np.array(inside) / outside) > 3
    np.testing.assert_array_equal(grad_cam(model, X[:5]), grad_cam(model, X[:5], model.predict(X[:5])))
    np.testing.assert_allclose(grad_cam(model, X[:300], y), maps, atol=1e-6)


def test_grad_cam_is_the_published_formula(tiny_images):
    X, y = tiny_images([0, 1, 2])
    model = small("ConvNetClassifier", architecture="4C3-GAP", max_epochs=2).fit(X, y)
    network, standardize = model.module_.network.eval(), model.module_.standardize
    with torch.no_grad():
        activations = network.features[:-1](standardize(torch.from_numpy(X[:, None]).float()))
    weights = network.head[-1].weight[torch.from_numpy(y)] / activations[0, 0].numel()     # of the mean over pixels
    expected = (weights[:, :, None, None] * activations).sum(1).relu().detach()
    strongest = expected.amax((1, 2), keepdim=True)
    expected = (expected / torch.where(strongest > 0, strongest, 1.0)).numpy()
    np.testing.assert_allclose(grad_cam(model, X, y), expected, atol=1e-5)


def test_grad_cam_sees_the_last_maps_before_poolings_and_no_padding(tiny_images):
    X, y = tiny_images(size=16)
    model = small("ConvNetClassifier", architecture="4C3-MP2-8N", max_epochs=1).fit(X, y)
    last = summary(model).query("type == 'ReLU'").index[0]
    np.testing.assert_array_equal(grad_cam(model, X[:5]), grad_cam(model, X[:5], layer=last))
    padded = small("ConvNetClassifier", architecture="4C3-MP2-4C3-MP2-4C3-MP2-4C3-8N", max_epochs=1)
    X = X[:, :6, :6].reshape(len(X), 36)
    with pytest.warns(UserWarning, match="pad"):
        padded.fit(X, y)
    maps = grad_cam(padded, X, y)
    assert maps.shape == (len(X), 6, 6)
    assert set(maps.max((1, 2)).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", ["ResNetClassifier", "DenseNetClassifier", "InceptionClassifier",
                                  "InceptionResNetClassifier", "WideResNetClassifier", "MLPMixerClassifier"])
def test_grad_cam_of_every_network(kind, tiny_images):
    X, y = tiny_images(size=16)
    model = small(kind, max_epochs=1).fit(X, y)
    model.optimizer_.zero_grad(set_to_none=True)
    maps = grad_cam(model, X[:5], y[:5])
    assert maps.shape == (5, 16, 16)
    assert np.isfinite(maps).all()
    assert all(parameter.grad is None for parameter in model.module_.parameters())


@pytest.mark.parametrize(("options", "message"), [
    ({"y": [0, 1]}, "y must hold a label for each of the 3 images, got 2"),
    ({"y": ["bag", "coat", "sock"]}, r"y must hold labels of \['bag', 'coat', 'shirt'\], got \['sock'\]"),
    ({"layer": "head"}, r"layer must give maps \(n, channels, height, width\), but 'head' gives \("),
    ({"layer": "nose"}, r"layer must be named as in the network .* got \['nose'\]"),
])
def test_grad_cam_names_what_is_wrong(fitted, named_images, options, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(fitted, named_images[0][:3], **options)


def test_grad_cam_display_names_wrong_predictions(fitted, named_images):
    X, _ = named_images
    german = {"bag": "Tasche", "coat": "Mantel", "shirt": "Hemd"}
    predicted = fitted.predict(X[:2])
    wrong = np.array([predicted[0], next(name for name in german if name != predicted[1])])
    display = GradCAMDisplay.from_estimator(fitted, X[:2], wrong, class_names=list(german.values()))
    assert display.titles[0].startswith(german[predicted[0]])
    assert "true" not in display.titles[0]
    assert display.titles[1].endswith(f"\ntrue: {german[wrong[1]]}")
