"""The benchmarks of pictures, forms of images, networks and training: no run is lost, and none is taken for another."""
import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
from fashion import first_images, real_data
from scripts import BENCHMARKS

from fmnist_sk import ConvNetClassifier

pytestmark = [pytest.mark.benchmarks, real_data]


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A function of a script's name and options, which runs it on few images and returns what its file holds."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.setattr(_measure, "HELD_OUT", 200)

    def run(name, *options, file=None):
        module = __import__(name)
        monkeypatch.setattr(module, "load_fashion_mnist", first_images)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
        module.main()
        return json.loads((tmp_path / f"{file or name}.json").read_text())

    return run


@pytest.mark.parametrize("name", ["networks", "forms", "training_craft", "choose_recipe", "augmentation", "searches",
                                  "own_pictures", "choose_tta", "speedrun", "accuracy"])
def test_figures_of_a_gpu_have_files_of_their_own(name, script, monkeypatch):
    import _measure

    def stop(name, device):
        raise SystemExit(name_on(name, device))

    name_on = _measure.name_on
    monkeypatch.setattr(_measure, "device", str)
    monkeypatch.setattr(_measure, "name_on", stop)
    with pytest.raises(SystemExit, match=f"^{name}_cuda$"):
        script(name, "--device", "cuda:0")


def test_tables_of_searches_are_those_of_each_device(script, monkeypatch, tmp_path):
    import _search_tables
    import _tables
    for path in _tables.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(_tables, "RESULTS", tmp_path)
    assert "None of this has been measured on CUDA yet." in _search_tables.searches()
    result = _tables.load("searches")
    result["environment"]["gpu"], result["times"]["device"] = "H200", "cuda"
    del result["memory"], result["together"]                    # parts are measured one by one
    (tmp_path / "searches_cuda.json").write_text(json.dumps(result))
    text = "\n".join(_search_tables.searches())
    assert "(H200, PyTorch" in text
    assert "on CUDA yet" not in text


def test_networks_of_other_settings_are_measured_again(script, monkeypatch):
    import networks
    monkeypatch.setattr(networks, "N_TRAIN", 300)
    monkeypatch.setattr(networks, "N_HELD_OUT", 300)
    rows = []
    for lr in (0.1, 0.1, 0.2):
        net = ConvNetClassifier(architecture="2C3", max_epochs=1, lr=lr)
        monkeypatch.setattr(networks, "networks", lambda net=net: {"a": (net, "one of mine")})
        rows.append(script("networks")["networks"]["a"])
    assert (rows[0]["torch_threads"], rows[0]["device"]) == (torch.get_num_threads(), "cpu")
    assert rows[1] == rows[0]
    assert "lr=0.2" in rows[2]["settings"]


def test_forms_are_told_with_the_deviation_of_their_table(script, monkeypatch, capsys):
    import forms
    from _tables import percent
    monkeypatch.setattr(forms, "ResNetClassifier", partial(ConvNetClassifier, architecture="2C3", max_epochs=1))
    runs = script("forms", "--only", "inverted", "--seeds", 0, 1)["runs"]
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split(maxsplit=1) == ["inverted", f"{percent([run['valid_accuracy'] for run in runs])} %, 2 seeds"]


def test_captions_say_what_runs_have_recorded(script):
    from _tables import where_of
    from report import with_footnotes
    full = {"git": "1234567", "torch": "2.13.0", "torch_threads": 1, "processor": "AMD EPYC",
            "uncommitted_changes": True}
    older = {"git": "89abcde", "torch_threads": 2}
    assert with_footnotes("a", f"({where_of([full, older, {}, {}])})") == (
        "(1 core of AMD EPYC, PyTorch 2.13.0; 1 older run on 2 cores of a processor that was not recorded; 2 older "
        "runs without a record of hardware and revision[^a-1])\n\n"
        "[^a-1]: revision 1234567 with uncommitted changes, 89abcde")


def test_pictures_of_ones_own_are_measured_without_losing_earlier_runs(script, monkeypatch, tmp_path):
    import own_pictures
    monkeypatch.setattr(own_pictures, "N_TEST", 40)
    monkeypatch.setattr(own_pictures.ResNetClassifier, "fit", lambda model, X, y: model)
    monkeypatch.setattr(own_pictures.ResNetClassifier, "score", lambda model, X, y: np.mean(X) / 255)
    options = "--images", 60, "--sizes", 12
    before = script("own_pictures", *options, "--seeds", 0, 1)["runs"]
    assert [(run["what"], run["seed"]) for run in before] == [
        (what, seed) for what in ("photos at 12 pixels in RGB", "the images themselves") for seed in (0, 1)]
    assert before[0]["mib_above_start"].keys() == {"1", "2"}
    assert 0 <= before[0]["mib_above_start"]["1"] < 500
    after = script("own_pictures", *options, "--seeds", 1, 2)["runs"]
    assert len(after) == 6
    assert after[0] == before[0]                                # its settings were not repeated
    assert after[1]["fit_seconds"] != before[1]["fit_seconds"]
    with pytest.raises(SystemExit, match=r"has runs with {'images': 60, .*, not {'images': 50, .*another --name"):
        script("own_pictures", "--images", 50, "--sizes", 12)
    assert json.loads((tmp_path / "own_pictures.json").read_text())["runs"] == after
