"""The networks: the text notation, shapes, sizes, errors."""
import numpy as np
import pytest
import torch
from estimators import small
from torch import nn

import fmnist_sk
from fmnist_sk import ConvNetClassifier, MLPMixerClassifier, ResNetClassifier, feature_maps, networks
from fmnist_sk.networks._text import feature_layers, parse_architecture
from fmnist_sk.networks.convnet import ConvNet
from fmnist_sk.networks.densenet import DenseNet
from fmnist_sk.networks.inception import Inception
from fmnist_sk.networks.inception_resnet import InceptionResNet
from fmnist_sk.networks.mlp_mixer import MLPMixer
from fmnist_sk.networks.resnet import Bottleneck, ResNet
from fmnist_sk.networks.wide_resnet import WideResNet

every_network = pytest.mark.parametrize("name", networks.__all__)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# ---------------------------------------------------------------------- the text notation

def test_the_text_notation():
    layers = parse_architecture("32C3-MP2-5C1valid-MP3/2ceil-AP2-GAP-128N")
    assert [(layer.kind, layer.size, layer.window, layer.stride, layer.edge) for layer in layers] == [
        ("conv", 32, 3, 1, "same"), ("max_pool", 0, 2, 2, "floor"), ("conv", 5, 1, 1, "valid"),
        ("max_pool", 0, 3, 2, "ceil"), ("avg_pool", 0, 2, 2, "floor"), ("global_avg_pool", 0, 1, 1, ""),
        ("dense", 128, 1, 1, "")]


def test_a_token_overrules_padding_and_rounding():
    layers = parse_architecture("4C3-4C3same-MP2-MP2floor", padding="valid", rounding="ceil")
    assert [layer.edge for layer in layers] == ["valid", "same", "ceil", "floor"]


def test_a_text_becomes_the_network_it_describes():
    net = ConvNet((1, 28, 28), 10, "32C3-MP2-64C3-MP2-128N", padding="valid", batch_norm=True, dropout=0.5)
    kinds = [type(layer) for layer in (*net.features, *net.head)]
    round_ = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]
    assert kinds == [*round_, *round_, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert net.head[0].in_features == 64 * 5 * 5
    assert net.head[2].p == 0.5
    assert count(net) == (320 + 64) + (18496 + 128) + (1600 * 128 + 128) + 1290


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU), ("elu", nn.ELU),
                                                  ("gelu", nn.GELU)])
def test_activation(activation, kind):
    net = ConvNet((3, 9, 12), 4, "8C3-5N", activation=activation)
    assert net(torch.zeros(2, 3, 9, 12)).shape == (2, 4)
    assert [type(layer) for layer in (*net.features, *net.head)] == [nn.Conv2d, kind, nn.Linear, kind, nn.Dropout,
                                                                     nn.Linear]


def test_normalisation_stands_where_it_is_asked_for():
    def layers(**params):
        net = ConvNet((1, 8, 8), 3, "4C3-6N", **params)
        return [[type(layer).__name__ for layer in part] for part in (net.features, net.head)]

    assert layers(batch_norm=True) == [["Conv2d", "BatchNorm2d", "ReLU"], ["Linear", "ReLU", "Dropout", "Linear"]]
    assert layers(batch_norm=True, norm_first=False)[0] == ["Conv2d", "ReLU", "BatchNorm2d"]
    assert layers(batch_norm="all")[1] == ["Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert layers(batch_norm="all", norm_first=False)[1] == ["Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]


def test_global_pooling():
    x = torch.rand(2, 3, 7, 5)
    for text, expected in (("GAP", x.mean((2, 3))), ("GMP", x.amax((2, 3)))):
        torch.testing.assert_close(ConvNet((3, 7, 5), 4, text).features(x).flatten(1), expected)


TOKENS = ["MP2", "MP2ceil", "MP3/2", "MP3/2ceil", "MP3/1", "MP2/3", "MP2/3ceil", "MP3/5ceil", "AP3/2ceil", "AP2", "4C1",
          "4C3", "4C4", "4C2valid", "4C5valid", "4C3/2", "4C4/2", "4C1/3", "4C4/3valid", "4C2/5valid", "4W2/2",
          "2W3valid", "GAP", "GMP"]


@pytest.mark.parametrize("token", TOKENS)
def test_sizes_are_those_of_pytorch(token):
    layer, = parse_architecture(token)
    sides = {}
    for side in range(1, 16):
        try:
            modules, shape = feature_layers([layer], (1, side, side + 1))
        except ValueError:
            with pytest.raises(RuntimeError):
                nn.MaxPool2d(layer.window, layer.stride, ceil_mode=layer.edge == "ceil")(torch.zeros(1, 1, side, side))
            assert layer.side_after(side) < 1
            continue
        assert nn.Sequential(*modules)(torch.zeros(2, 1, side, side + 1)).shape[1:] == shape
        sides[side] = shape[1]
    for needed in {1, 2, 3} & set(sides.values()):
        assert layer.side_before(needed) == min(side for side, after in sides.items() if after >= needed)


@pytest.mark.parametrize(("architecture", "quoted"), [
    ("32C3-MP-10N", "got 'MP'"), ("32C3--10N", "got ''"), ("0C3", "got '0C3'"), ("32c3", "got '32c3'"), ("", "got ''"),
    ("32C3-10N-MP2", "got 'MP2' after '10N'"), ("MP2same", "got 'MP2same'"), ("8C3ceil", "got '8C3ceil'"),
    ("MP2/0", "got 'MP2/0'"), ("8C3/0", "got '8C3/0'"), ("8C3-8W3", "got '8W3' after '8C3'"),
    ("9999999999C3", "got '9999999999C3'"), ("GP", "got 'GP'"), ("8C3 -MP2", "got '8C3 '"),
])
def test_a_malformed_text_is_quoted(architecture, quoted, tiny_images):
    with pytest.raises(ValueError, match=rf"architecture must .*{quoted}"):
        ConvNetClassifier(architecture=architecture).fit(*tiny_images())


def test_a_too_deep_text_quotes_the_layer():
    with pytest.raises(ValueError, match="layer 'MP3' leaves no pixels of a 2 x 2 map"):
        ConvNet((1, 8, 8), 10, "4C3-MP4-MP3-4C3")
    with pytest.raises(ValueError, match="needs images of at least 12 x 12 pixels, got 8 x 8: .* layer 'MP3' leaves "
                                         r"no pixels of a 2 x 2 map \(architecture='4C3-MP4-MP3'\)"):
        ConvNetClassifier(architecture="4C3-MP4-MP3").fit(np.zeros((4, 8, 8)), [0, 1, 0, 1])
    with pytest.raises(TypeError, match="architecture must be a string"):
        ConvNetClassifier(architecture=32).fit(np.zeros((4, 8, 8)), [0, 1, 0, 1])


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_stated_minimum_is_the_smallest_that_works(padding, rounding):
    settings = {"architecture": "4C3-MP3/2-4C5-MP2-8N", "padding": padding, "rounding": rounding}
    side = ConvNetClassifier(**settings)._minimum_size()
    ConvNet((1, side, side), 3, **settings)
    with pytest.raises(ValueError, match="must leave at least one pixel"):
        ConvNet((1, side - 1, side), 3, **settings)


@pytest.mark.parametrize(("stem", "rule"), [("3W4/2", "even number of maps up to 32, .*got 3"),
                                            ("34W4/2", "even number of maps up to 32, .*got 34")])
def test_whitening_has_as_many_maps_as_a_patch_allows(stem, rule, tiny_images):
    with pytest.raises(ValueError, match=f"'{stem}': whitening must have an {rule}"):
        ResNetClassifier(stem=stem).fit(*tiny_images())


def test_whitening_makes_maps_uncorrelated_and_is_not_trained():
    X = np.random.default_rng(0).normal(size=(1000, 12, 12)).cumsum(2).astype(np.float32)      # neighbours are alike
    y = np.arange(1000) % 2
    net = ResNetClassifier(stem="18W3valid", width=4, n_blocks=(1,), augment=None, max_epochs=1, random_state=0)
    before = net.fit(X, y).module_.network.stem[0].weight.clone()
    maps = feature_maps(net.set_params(precision="fp32"), X, ["stem.0"])["stem.0"]
    values = maps[:, :9].transpose(0, 2, 3, 1).reshape(-1, 9)
    second = values.T @ values / len(values)
    np.testing.assert_allclose(second, np.diag(np.diag(second)), atol=1e-3)
    assert np.all(np.diff(np.diag(second)) < 0)                     # the largest variances first, nearly one
    assert 0.9 < second[0, 0] < 1
    np.testing.assert_allclose(maps[:, 9:], -maps[:, :9], atol=1e-5)
    net.set_params(warm_start=True).fit(X, y)
    assert torch.equal(net.module_.network.stem[0].weight, before)
    assert not any(name.startswith("stem") for name, _ in net.module_.network.named_parameters())


# ---------------------------------------------------------------------- every network

@every_network
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 9, 12), (3, 40, 23)])
def test_takes_any_size(name, shape):
    classifier = small(name, max_epochs=1)
    X, y = np.random.default_rng(0).random((12, *shape)), np.arange(12) % 6
    assert classifier.fit(X, y).predict_proba(X).shape == (12, 6)


@every_network
@pytest.mark.parametrize("defaults", [False, True])
def test_takes_its_stated_minimum_and_nothing_smaller(name, defaults):
    classifier = small(name, max_epochs=1)
    if defaults and name != "InceptionV3Classifier":         # which is slow, and takes any size by enlarging it
        classifier = getattr(fmnist_sk, name)(max_epochs=1, augment=None)         # shifts would leave nothing
    side = classifier._minimum_size()
    X, y = np.random.default_rng(0).random((6, side, side + 1)), np.arange(6) % 3
    assert classifier.fit(X, y).predict_proba(X).shape == (6, 3)
    if side > 1:
        with pytest.raises(ValueError, match=f"{name} needs images of at least {side} x {side} pixels, "
                                             f"got {side - 1} x {side}"):
            classifier.fit(X[:, 1:, 1:], y)


def test_some_networks_have_a_minimum():
    assert ConvNetClassifier()._minimum_size() == 4
    assert fmnist_sk.InceptionClassifier()._minimum_size() == 5
    assert MLPMixerClassifier(patch_size=7)._minimum_size() == 7
    assert ResNetClassifier(stem="8C5valid-MP2")._minimum_size() == 6


def test_flat_rows_are_padded_with_a_warning_and_within_bounds():
    X, y = np.random.default_rng(0).random((8, 64)), np.arange(8) % 2
    classifier = MLPMixerClassifier(patch_size=9, max_epochs=1)
    with pytest.warns(UserWarning, match="X has rows of 64 values, which are padded to 9 x 9, the smallest"):
        classifier.fit(X, y)
    with pytest.raises(ValueError, match="needs images of at least 9 x 9 pixels, got 8 x 8"):
        classifier.set_params(image_shape=(8, 8)).fit(X, y)
    with pytest.raises(ValueError, match=r"at least 16384 x 16384 pixels, got 8 x 8: .* layer 'MP2' leaves no"):
        ConvNetClassifier(architecture="-".join(["MP2"] * 14)).fit(X, y)


@pytest.mark.parametrize(("name", "params"), [
    ("ConvNetClassifier", {"architecture": "99999C99999-8N"}), ("ResNetClassifier", {"width": 10**18}),
    ("MLPMixerClassifier", {"width": 10**12}), ("ResNetClassifier", {"hidden": 10**15})])
def test_networks_that_are_too_large_are_named(name, params, tiny_images):
    with pytest.raises((ValueError, TypeError), match=f"(cannot be built with|The network of) .*{next(iter(params))}"):
        getattr(fmnist_sk, name)(**params).fit(*tiny_images())


@every_network
def test_flat_rows_are_padded_to_the_minimum(name):
    X, y = np.random.default_rng(0).random((8, 9)), np.arange(8) % 2
    assert small(name, max_epochs=1).fit(X, y).predict_proba(X).shape == (8, 2)
    larger = {"ConvNetClassifier": {"architecture": "4C5-MP2", "padding": "valid"}, "MLPMixerClassifier":
              {"patch_size": 4}, "ResNetClassifier": {"stem": "4C3valid-4C5valid"}}
    if name in larger:
        classifier = small(name, max_epochs=1, **larger[name]).fit(X, y)
        assert classifier._minimum_size() > 3
        assert classifier.predict_proba(X).shape == (8, 2)


def test_the_searched_parameters_reach_the_network(tiny_images):
    X, y = tiny_images()
    grid = [ConvNetClassifier(architecture=text, max_epochs=1).fit(X, y) for text in ("4C3", "4C3-MP2-8C3")]
    assert [sum(isinstance(m, nn.Conv2d) for m in net.module_.modules()) for net in grid] == [1, 2]
    narrow, wide = (ResNetClassifier(width=width, max_epochs=1).fit(X, y) for width in (4, 8))
    assert count(narrow.module_) < count(wide.module_)


# ---------------------------------------------------------------------- bad architectures

@pytest.mark.parametrize(("name", "params", "message"), [
    *(("ResNetClassifier", {"n_blocks": value}, "n_blocks") for value in ((), (0,), (-1,), (1.5,), ("a",), "ab")),
    ("ResNetClassifier", {"n_blocks": (600, 401)}, r"n_blocks must hold 1,000 blocks .*\(600, 401\)"),
    ("InceptionClassifier", {"widths": [4] * 1001, "n_blocks": [0] * 1001}, "there are 1,000 at most, got widths="),
    ("InceptionResNetClassifier", {"n_blocks": (1001, 0)}, "n_blocks must hold 1,000 blocks in all at most"),
    ("ResNetClassifier", {"stem": "-".join(["8C3"] * 1001)}, "stem must consist of 1,000 tokens at most, got 1,001"),
    ("ConvNetClassifier", {"architecture": "-".join(["8N"] * 1001)}, "architecture must consist of 1,000 tokens"),
    ("WideResNetClassifier", {"depth": 1006}, r"'depth' parameter .* \[1, 1000\]. Got 1006"),
    ("DenseNetClassifier", {"depth": 1006}, r"'depth' parameter .* \[1, 1000\]. Got 1006"),
    ("MLPMixerClassifier", {"n_blocks": 1001}, r"'n_blocks' parameter .* \[1, 1000\]. Got 1001"),
    ("ResNetClassifier", {"stem": "8C3-16N"}, "stem must hold convolutions and poolings only, got '16N'"),
    ("ResNetClassifier", {"stem": "8Q3"}, "stem must consist of tokens such as 32C3, MP2 and GAP .* got '8Q3'"),
    ("ResNetClassifier", {"block": "wide"}, "The 'block' parameter"),
    ("ResNetClassifier", {"stem": "MP9"}, "at least 9 x 9 pixels, got 8 x 8: stem must leave .* layer 'MP9'"),
    ("WideResNetClassifier", {"depth": 15}, r"depth must be 6 n \+ 4 .* got depth=15"),
    ("WideResNetClassifier", {"depth": 4}, "got depth=4"),
    ("WideResNetClassifier", {"widen_factor": 0}, "'widen_factor'"),
    ("DenseNetClassifier", {"depth": 12}, r"depth must be 6 n \+ 4 .* bottleneck=True, got depth=12"),
    ("DenseNetClassifier", {"depth": 12, "bottleneck": False}, r"depth must be 3 n \+ 4"),
    ("DenseNetClassifier", {"compression": 0}, "'compression'"),
    ("InceptionClassifier", {"widths": (64,), "n_blocks": (1, 1)}, "widths and n_blocks must have one entry"),
    ("InceptionClassifier", {"widths": (2,), "n_blocks": (1,)}, r"widths must hold a whole number >= 4 .*\(2,\)"),
    ("InceptionResNetClassifier", {"n_blocks": (1, -1)}, "n_blocks must hold a whole number >= 0"),
    ("MLPMixerClassifier", {"patch_size": 9}, "needs images of at least 9 x 9 pixels"),
    ("MLPMixerClassifier", {"block": "conv"}, "'block'"),
    ("ConvNetClassifier", {"rounding": "up"}, "'rounding'"),
])
def test_a_bad_architecture_is_named(name, params, message, tiny_images):
    with pytest.raises(ValueError, match=message):
        getattr(fmnist_sk, name)(**params, max_epochs=1).fit(*tiny_images())


# ---------------------------------------------------------------------- what the papers say

@pytest.mark.parametrize(("depth", "widen_factor", "published", "here"), [
    (16, 4, 2.7e6, 2_748_890), (28, 10, 36.5e6, 36_479_194), (40, 4, 8.9e6, 8_949_210)])
def test_wide_resnets_have_the_published_size(depth, widen_factor, published, here):
    net = WideResNet((3, 32, 32), 10, depth, widen_factor)
    assert count(net) == here
    assert abs(here / published - 1) < 0.02
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in net.modules()) == depth - 3


@pytest.mark.parametrize(("params", "here"), [
    ({"depth": 100, "growth": 12}, 769_162),                                             # 0.8 M in the paper
    ({"depth": 40, "growth": 12, "bottleneck": False, "compression": 1.0}, 1_019_722)])  # 1.0 M
def test_densenets_have_the_published_size(params, here):
    net = DenseNet((3, 32, 32), 10, **params)
    assert count(net) == here
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in net.modules()) == params["depth"]


def test_bottlenecks_are_narrow_inside():
    net = ResNet((1, 28, 28), 10, width=16, n_blocks=(2, 1), block="bottleneck")
    blocks = [module for module in net.modules() if isinstance(module, Bottleneck)]
    widths = [[m.out_channels for m in block.convolutions.modules() if isinstance(m, nn.Conv2d)] for block in blocks]
    assert widths == [[16, 16, 64], [16, 16, 64], [32, 32, 128]]


@pytest.mark.parametrize(("net", "size"), [(Inception, 343_000), (InceptionResNet, 982_000)])
def test_inception_networks_have_the_reported_size(net, size):
    assert abs(count(net((1, 28, 28), 10)) / size - 1) < 0.03


def test_a_preactivation_network_without_learned_branches_is_the_identity():
    net = ResNet((1, 8, 8), 3, width=8, stem="8C1", n_blocks=(2,), block="preactivation", hidden=0)
    for block in net.blocks[:2]:
        nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 8, 8, 8)
    torch.testing.assert_close(net.blocks[:2](x), x)


def test_a_mixer_pads_what_patches_do_not_divide():
    net = MLPMixer((1, 9, 6), 3, patch_size=4)
    assert net.stem(nn.functional.pad(torch.zeros(1, 1, 9, 6), net.padding)).shape == (1, 256, 3, 2)
    assert net(torch.zeros(2, 1, 9, 6)).shape == (2, 3)


def test_a_mixer_mixes_patches_and_the_plain_one_has_no_shortcut():
    x = torch.randn(1, 4, 8)
    mixer, plain = (MLPMixer((1, 4, 4), 3, patch_size=2, width=8, n_blocks=1, block=block).blocks[0]
                    for block in ("mixer", "plain"))
    for block in (mixer, plain):
        changed = x.clone()
        changed[0, 0, 0] += 1
        assert not torch.equal(block(x)[0, 3], block(changed)[0, 3])        # another patch sees it
        for layers in (block.mix_patches, block.mix_features):
            for parameter in layers[3].parameters():
                nn.init.zeros_(parameter)
    assert torch.equal(mixer(x), x)
    assert not plain(x).any()


def test_the_plain_mixer_begins_kaiming_normal():
    torch.manual_seed(0)
    net = MLPMixer((1, 28, 28), 10, block="plain")
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            expected = (2 / module.weight[0].numel()) ** 0.5
            assert abs(module.weight.std().item() / expected - 1) < 0.05
            assert not module.bias.any()
    assert (net.norm.weight == 1).all()
    assert not net.norm.bias.any()


def test_convolutions_of_a_single_pixel_have_no_stride(tiny_images):
    X, y = tiny_images(size=2)
    strides = [[module.stride for module in net.module_.network.modules() if isinstance(module, nn.Conv2d)]
               for net in (small("WideResNetClassifier", max_epochs=1).fit(images, y) for images in
                           (X, X.repeat(8, axis=1).repeat(8, axis=2)))]
    assert (2, 2) in strides[0]                                 # where there is something to step over
    assert strides[0].count((2, 2)) < strides[1].count((2, 2))
    X = X.astype(np.float32) / 255
    for _ in range(5):                                          # gradients would be of memory that nobody wrote
        junk = [torch.full((size,), torch.nan) for size in (256, 4_000, 20_000, 100_000)]
        del junk
        assert small("WideResNetClassifier", precision="bf16", max_epochs=3).fit(X, y).score(X, y) > 0.3
