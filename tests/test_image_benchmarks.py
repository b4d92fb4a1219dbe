"""The benchmarks of pictures, forms of images, networks and training: no run is lost, and none is taken for another."""
import json
import sys

import numpy as np
import pytest
from fashion import first_images, real_data
from scripts import BENCHMARKS

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
    with pytest.raises(SystemExit, match="has runs with {'images': 60, .*, not {'images': 50, .*choose another --name"):
        script("own_pictures", "--images", 50, "--sizes", 12)
    assert json.loads((tmp_path / "own_pictures.json").read_text())["runs"] == after
