"""The networks: the text notation, shapes, sizes, reference systems."""
import numpy as np
import pytest
import torch
from torch import nn

from fmnist_sk import ConvNetClassifier, ResNetClassifier, reference_system, reference_systems
from fmnist_sk.networks.convnet import ConvNet, parse_architecture


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_text_notation():
    layers = parse_architecture("32C3-MP2-5C1-128N")
    assert [(layer.kind, layer.size, layer.window) for layer in layers] == [
        ("conv", 32, 3), ("pool", 0, 2), ("conv", 5, 1), ("dense", 128, 1)]


def test_a_text_becomes_the_network_it_describes():
    net = ConvNet((1, 28, 28), 10, "32C3-MP2-64C3-MP2-128N", padding="valid", batch_norm=True, dropout=0.5)
    kinds = [type(layer) for layer in (*net.features, *net.head)]
    round_ = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]
    assert kinds == [*round_, *round_, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert net.head[0].in_features == 64 * 5 * 5
    assert count(net) == (320 + 64) + (18496 + 128) + (1600 * 128 + 128) + 1290
    gelu = ConvNet((3, 9, 12), 4, "8C3", activation="gelu")
    assert gelu(torch.zeros(2, 3, 9, 12)).shape == (2, 4)
    assert [type(layer) for layer in gelu.features] == [nn.Conv2d, nn.GELU]


@pytest.mark.parametrize(("architecture", "quoted"), [
    ("32C3-MP-10N", "got 'MP'"), ("32C3--10N", "got ''"), ("0C3", "got '0C3'"), ("32c3", "got '32c3'"), ("", "got ''"),
    ("32C3-10N-MP2", "got 'MP2' after '10N'"),
])
def test_a_malformed_text_is_quoted(architecture, quoted, tiny_images):
    with pytest.raises(ValueError, match=rf"architecture must .*{quoted}"):
        ConvNetClassifier(architecture=architecture).fit(*tiny_images())


def test_a_too_deep_text_quotes_the_layer():
    with pytest.raises(ValueError, match="its layer 'MP3' makes none of 2 x 2"):
        ConvNet((1, 8, 8), 10, "4C3-MP4-MP3-4C3")
    with pytest.raises(ValueError, match="needs images of at least 12 x 12 pixels, got 8 x 8"):
        ConvNetClassifier(architecture="4C3-MP4-MP3").fit(np.zeros((4, 8, 8)), [0, 1, 0, 1])
    with pytest.raises(TypeError, match="architecture must be a text"):
        ConvNetClassifier(architecture=32).fit(np.zeros((4, 8, 8)), [0, 1, 0, 1])


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_stated_minimum_is_the_smallest_that_works(padding):
    classifier = ConvNetClassifier(architecture="4C3-MP2-4C5-MP2-8N", padding=padding)
    side = classifier._minimum_size()
    ConvNet((1, side, side), 3, classifier.architecture, padding)
    with pytest.raises(ValueError, match="must leave at least one pixel"):
        ConvNet((1, side - 1, side), 3, classifier.architecture, padding)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 1, 1), (2, 9, 5), (1, 40, 61)])
def test_resnet_takes_any_size(shape):
    classifier = ResNetClassifier(max_epochs=1, width=8, augment=None, random_state=0)
    X, y = np.random.default_rng(0).random((6, *shape)), np.arange(6) % 3
    assert classifier.fit(X, y).predict_proba(X).shape == (6, 3)


def test_the_searched_parameters_reach_the_network(tiny_images):
    X, y = tiny_images()
    grid = [ConvNetClassifier(architecture=text, max_epochs=1).fit(X, y) for text in ("4C3", "4C3-MP2-8C3")]
    assert [sum(isinstance(m, nn.Conv2d) for m in net.module_.modules()) for net in grid] == [1, 2]
    narrow, wide = (ResNetClassifier(width=width, max_epochs=1).fit(X, y) for width in (4, 8))
    assert count(narrow.module_) < count(wide.module_)


@pytest.mark.parametrize("n_blocks", [(), (0,), (-1,), (1.5,), ("a",), "ab"])
def test_n_blocks_must_be_numbers_of_blocks(n_blocks, tiny_images):
    with pytest.raises(ValueError, match="n_blocks"):
        ResNetClassifier(n_blocks=n_blocks, max_epochs=1).fit(*tiny_images())


# ---------------------------------------------------------------------- reference systems

def test_report_0():
    simple = reference_system("simple_cnn").initialize().module_.network
    assert count(simple) == 320 + 18496 + (64 * 49 * 128 + 128) + 1290
    second = reference_system("second_cnn").initialize().module_.network
    assert [layer.out_channels for layer in second.modules() if isinstance(layer, nn.Conv2d)] == [32, 32, 64, 64]
    assert reference_systems()["second_cnn"].reported_accuracy == 92.2


def test_reference_systems_train_and_can_be_changed(tiny_images):
    X, y = tiny_images(size=12)
    for name in reference_systems():
        classifier = reference_system(name, max_epochs=15, random_state=0).fit(X, y)
        assert classifier.score(X, y) > 0.9
        assert classifier.best_epoch_ >= 1                   # the report keeps the best validation epoch
    with pytest.raises(ValueError, match=r"name must be one of \['second_cnn', 'simple_cnn'\], got name='vgg'"):
        reference_system("vgg")
