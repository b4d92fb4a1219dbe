"""Recipes are parameters of the recommended network."""
import pytest
import torch

from fmnist_sk import RandomErasing, ResNetClassifier, WideResNetClassifier, recipe, summary
from fmnist_sk.recipes import RECIPES


@pytest.mark.parametrize("device", ["cpu", "cuda", torch.device("cuda", 1)])
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_of_the_residual_network(name, device):
    ResNetClassifier(**recipe(name, device))._validate_params()


def test_a_gpu_gets_larger_batches():
    assert recipe("fast", "cuda") == {**recipe("fast"), "batch_size": 512, "lr": 0.3, "max_epochs": 8}
    assert recipe("accurate", torch.device("cuda:0")) == {**recipe("accurate"), "batch_size": 256}
    assert recipe("fashion", "cuda") == recipe("fashion")


def test_wide_is_the_wide_residual_network_but_for_one_normalisation():
    sizes = [int(summary(classifier).loc["total", "parameters"])
             for classifier in (ResNetClassifier(**recipe("wide")), WideResNetClassifier())]
    assert sizes[0] - sizes[1] == 2 * 16


def test_recipes_can_be_changed_without_harm():
    recipe("wide")["augment"].clear()
    recipe("fast")["lr"] = 5
    assert len(recipe("wide")["augment"]) == 3
    assert recipe("fast")["lr"] == 0.4


def test_overrides_replace_settings_and_add_others():
    fast = ResNetClassifier(**recipe("fast", "cuda", max_epochs=3, patience=7))
    assert fast.max_epochs == 3
    assert fast.patience == 7
    assert recipe("fast", "cuda", lr=0.3, max_epochs=8) == recipe("fast", "cuda")
    augment = [RandomErasing()]
    assert recipe("fast", augment=augment)["augment"] is augment
    assert recipe("fast")["augment"] == "fashion"


def test_an_override_that_the_network_lacks_is_refused_by_the_network():
    with pytest.raises(TypeError, match="max_epoch"):
        ResNetClassifier(**recipe("fast", max_epoch=3))


@pytest.mark.parametrize(("arguments", "message"), [
    (("slow",), r"name must be one of \['accurate', .*'wide'\], got name='slow'"),
    ((None,), "name must be one of .* got name=None"),
    (("fast", "gpu"), "device must name a device, such as 'cpu' or 'cuda', got device='gpu'"),
    (("fast", []), r"device must name a device, .* got device=\[\]"),
])
def test_wrong_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        recipe(*arguments)
