"""The scripts in examples/ run as a user runs them."""
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from fashion import real_data
from scripts import BENCHMARKS, EXAMPLES, run
from sklearn.datasets import load_digits

import fmnist_sk


def check_quickstart(out, folder, least):
    accuracy = re.findall(r"^test accuracy: (0\.\d{4})$", out, re.MULTILINE)
    assert len(accuracy) == 1
    assert float(accuracy[0]) > least
    for text in ("train_loss", "remaining", "precision    recall", "recall is the accuracy", "is predicted as: "):
        assert text in out
    for name in ("learning_curves.png", "confusion_matrix.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    return fmnist_sk.load(folder / "model.safetensors")


@pytest.mark.exhaustive
@real_data
def test_quickstart_on_fashion_mnist(tmp_path):
    out = run("quickstart.py", "--epochs", 1, "--output", tmp_path)
    assert "60000 training and 10000 test images of 28 x 28" in out
    assert "Ankle boot" in out
    assert "NOT AVAILABLE" not in out
    assert check_quickstart(out, tmp_path, 0.85).image_shape_ == (1, 28, 28)


def test_quickstart_falls_back_to_digits_and_says_so(tmp_path):
    # No folder of this machine may be found, so the search is pointed at empty ones and the system's is hidden.
    code = ("import pathlib, runpy, sys; from fmnist_sk import datasets;"
            "datasets.SYSTEM_FOLDER = pathlib.Path('/nonexistent');"
            f"sys.argv = ['quickstart.py', '--no-download', '--output', {str(tmp_path)!r}];"
            f"sys.path.insert(0, {str(EXAMPLES)!r}); "
            f"runpy.run_path({str(EXAMPLES / 'quickstart.py')!r}, run_name='__main__')")
    import os
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "FMNIST_SK_DATA": ""})
    assert result.returncode == 0, result.stderr
    assert "FASHION-MNIST IS NOT AVAILABLE" in result.stdout
    assert "apt-get install dataset-fashion-mnist" in result.stdout
    model = check_quickstart(result.stdout, tmp_path, 0.95)
    assert model.predict(np.kron(load_digits().images[:3], np.ones((3, 3)))).tolist() == [0, 1, 2]


SCRIPTS = sorted(str(path.relative_to(EXAMPLES)) for folder in (EXAMPLES, BENCHMARKS)          # the site has others
                 for path in folder.glob("[a-z]*.py"))


@pytest.mark.parametrize("script", [pytest.param(name, marks=pytest.mark.benchmarks) if "benchmarks" in name else name
                                    for name in SCRIPTS])
def test_every_script_explains_itself(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.syspath_prepend(str((EXAMPLES / script).parent))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert end.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


@pytest.mark.benchmarks
def test_ratios_are_paired_medians(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    value = _measure.ratio([2.0, 4.0, 60.0], [1.0, 2.0, 3.0])
    assert value["median"] == 2.0
    assert value["low"] == 2.0
    assert value["high"] == 20.0


def test_the_table_of_networks_is_complete_and_true(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import json

    import networks

    from fmnist_sk import reference_systems, summary
    rows = json.loads((BENCHMARKS / "results/networks.json").read_text())["networks"]
    every = networks.networks()
    assert list(rows) == list(every)
    assert {*fmnist_sk.networks.__all__, *reference_systems()} <= set(rows)
    for name, (classifier, source) in every.items():
        total = summary(classifier).loc["total"]
        row = rows[name]
        assert row["source"] == source
        assert (row["parameters"], row["multiply_adds"]) == (total.parameters, total.multiply_adds), name
        assert row["smallest_image"] == classifier._minimum_size()
        assert row["accuracy"] > 0.7


@real_data
@pytest.mark.benchmarks
def test_networks_benchmark_keeps_rows_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import json

    import _measure
    import networks
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.setattr(networks, "N_TRAIN", 300)
    monkeypatch.setattr(networks, "N_HELD_OUT", 300)
    for names in (["cnn_4"], ["simple_cnn"], ["cnn_4"]):
        monkeypatch.setattr(sys, "argv", ["networks.py", "--only", *names])
        networks.main()
    rows = json.loads((tmp_path / "networks.json").read_text())["networks"]
    assert list(rows) == ["simple_cnn", "cnn_4"]            # in the order of the table, measured rows kept
    assert rows["cnn_4"]["parameters"] == 65_994
    assert all(0 < row["accuracy"] < 1 and row["fit_seconds"] > 0 for row in rows.values())
    assert "2 of 28 networks" in capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setattr(sys, "argv", ["networks.py", "--only", "vgg"])
    with pytest.raises(SystemExit):
        networks.main()
    assert "--only must name some of ConvNetClassifier" in capsys.readouterr().err
