"""The benchmark that compares recipes for the reports' architectures on held-out images."""
import json
import sys

import numpy as np
import pytest
from fashion import first_images, real_data
from scripts import BENCHMARKS

pytestmark = pytest.mark.benchmarks


@real_data
def test_every_candidate_is_tried_once_on_images_that_are_held_out(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import choose_reference_recipes as script
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(script, "HELD_OUT", 200)
    bunch, seen = first_images("train"), []

    class Recorded(script.ConvNetClassifier):
        def fit(self, X, y):
            assert self.checkpoint
            seen.append(X)
            return super().fit(X, y)

    monkeypatch.setattr(script, "load_fashion_mnist", lambda return_X_y: (bunch.images, bunch.target))
    monkeypatch.setattr(script, "reference_system", lambda *args, original=script.reference_system, **params: Recorded(
        **original(*args, **params).get_params(deep=False)))

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["x", "--only", "cnn_4", "--images", "100", "--epochs", "1", *options])
        script.main()
        return json.loads((tmp_path / "choose_reference_recipes.json").read_text())["runs"]

    two = "--candidates", "SGD", "SGD, batch norm, dropout"
    runs = run(*two)
    assert [run["candidate"] for run in runs] == list(two[1:])
    assert "dropout=0.2" in runs[1]["settings"]
    assert all(np.array_equal(X, bunch.images[:100]) for X in seen)
    assert run(*two, "AdamW")[:2] == runs
    assert len(seen) == 3
    with pytest.raises(SystemExit):
        run("--images", "500")
    assert "--images must be at most 400, got 500" in capsys.readouterr().err
