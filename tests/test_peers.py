"""The comparison with other ways to train, examples/benchmarks/peers.py, on tiny sizes."""
import importlib
import json
import sys

import numpy as np
import pytest
import torch
from fashion import real_data
from scripts import BENCHMARKS

from fmnist_sk import load_fashion_mnist

pytestmark = [pytest.mark.benchmarks, real_data]


@pytest.fixture
def peers(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import _tables
    import peers
    environment = {**_measure.environment(), "git": "0123456"}      # the folder of results is in no repository
    monkeypatch.setattr(_measure, "environment", lambda: environment)
    for module in (_measure, _tables):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    return peers


def module(name):
    return importlib.import_module(name)


def run(peers, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["peers.py", *map(str, options)])
    peers.main()


def result(tmp_path):
    return json.loads((tmp_path / "peers.json").read_text())


def table(part, row, measured, **settings):
    return "\n".join(module("_peers_tables").TABLES[part](settings, {row: {**measured, "git": "0123456"}}, "here"))


def test_an_epoch_is_measured_on_every_side(peers):
    sides = module("_task").installed(module("_sides").WAYS)
    for network in ("cnn", "tiny"):
        measured = peers.epochs(network, peers.options().parse_args(["--images", "130", "--rounds", "2"]))
        assert list(measured["seconds"]) == sides
        assert all(len(times) == 2 and min(times) > 0 for times in measured["seconds"].values())
        for side in sides:
            ours, others = measured["fmnist_sk / other"][side], measured["other / fmnist_sk"][side]
            assert 0 < ours["low"] <= ours["median"] <= ours["high"]
            assert others["high"] == pytest.approx(1 / ours["low"])
        text = table("epochs", network, measured, rounds=2)
        assert all(f"\n| {side} | " in text for side in sides[1:])


def test_every_side_trains_the_same_network(peers):
    X, y = load_fashion_mnist(return_X_y=True)
    X = X.reshape(-1, 28, 28)
    ways = module("_sides")
    for side in module("_task").installed(ways.WAYS):
        train, predict = ways.start(side, module("_task").Task("tiny", X[:1500], y[:1500], torch.device("cpu")))
        seconds = train(6)
        accuracy = (predict(X[1500:2000]) == y[1500:2000]).mean()
        assert 0.7 < accuracy < 0.9, side
        assert seconds > 0
        assert train(1) > 0
        assert (predict(X[1500:2000]) == y[1500:2000]).mean() > accuracy - 0.04, side


def test_keras_has_the_same_layers(peers):
    pytest.importorskip("keras")
    for name, make in module("_task").NETWORKS.items():
        weights = module("_frameworks").keras_network(name).trainable_weights
        assert sum(int(np.prod(weight.shape)) for weight in weights) == sum(p.numel() for p in make().parameters())


def test_fits_are_measured(peers, monkeypatch):
    fits, test = module("_fits"), load_fashion_mnist("test")
    for name in ("images", "data", "target"):
        test[name] = test[name][:200]
    monkeypatch.setattr(fits, "load_fashion_mnist", lambda subset: test)
    args = peers.options().parse_args(["--images", "1200", "--epochs", "2"])
    for side in ("fmnist_sk", "hand-written loop", "LogisticRegression"):
        measured = peers.fits(f"{side} 3", args)
        assert (measured["side"], measured["seed"], measured["images"]) == (side, 3, 1200)
        assert 0.6 < measured["test_accuracy"] < 0.95
        assert (200 * measured["test_accuracy"]).is_integer()
        assert min(measured["fit_seconds"], measured["predict_seconds"]) > 0
        assert 100 < measured["mib_before"] <= measured["mib_peak"]
        text = table("fits", f"{side} 3", measured, epochs=2)
        assert f"| {side} | 1,200 | 1 | {100 * measured['test_accuracy']:.2f} | " in text


def test_slow_fits_get_fewer_images(peers, monkeypatch):
    fits, now, sizes = module("_fits"), [0.0], []
    monkeypatch.setattr(fits.time, "perf_counter", lambda: now[0])

    def fit(n):                                                 # quadratic: 40 s for 20,000 images
        sizes.append(n)
        now[0] += 40 * (n / 20_000) ** 2

    assert fits.affordable(fit, 60_000, limit=40) == pytest.approx(20_000, abs=10)
    assert sizes == [1000, 2000, 4000, 8000]
    assert fits.affordable(fit, 20_000, limit=100) == 20_000
    assert fits.affordable(fit, 300, limit=1) == 300


def test_predictions_are_those_of_the_network_alone(peers, monkeypatch):
    monkeypatch.setattr(module("_speed"), "CALLS", 5)
    measured = peers.inference("pretrained", peers.options().parse_args(["--images", "200", "--rounds", "2"]))
    assert list(measured["calls"]) == ["1", "20", "200"]
    assert measured["largest_difference"] < 1e-3
    for call in measured["calls"].values():
        assert all(0 < call["median_ms"][side] <= call["p95_ms"][side] for side in ("fmnist_sk", "bare module"))
        assert call["fmnist_sk / bare module"]["median"] > 0
    assert set(measured["fewest_independent_rows"]) == {"torch.bfloat16", "torch.float32"}
    assert all(1 <= n <= 16 for n in measured["fewest_independent_rows"].values())
    text = table("inference", "pretrained", measured)
    assert "| the pretrained network | 200 | " in text
    assert ("a single image needs no others here" if measured["rows"] == 1 else
            f"padded to at most {measured['rows']} rows here, for which the network alone takes ") in text


def test_the_fewest_rows_are_those_from_which_on_nothing_changes(peers):
    class Odd(torch.nn.Flatten):
        def forward(self, x):
            return super().forward(x) + (len(x) in (3, 7))

    x = torch.zeros(960, 28, 28, dtype=torch.uint8).numpy()
    for layer, fewest in ((Odd(), 8), (torch.nn.Flatten(), 1)):
        assert module("_speed").fewest_rows(layer, x, torch.float32, torch.device("cpu")) == fewest


def test_time_and_memory_of_more_and_more_images(peers, monkeypatch, tmp_path):
    assert peers.PARTS["scaling"].rows(peers.options().parse_args([])) == ["1000", "10000", "60000", "240000"]
    run(peers, monkeypatch, "--parts", "scaling", "--images", 20_000, "--only", 20_000)
    measured = result(tmp_path)["scaling"]["rows"]["20000"]
    assert measured["mib_data"] == 20_000 * 784 / 2**20
    assert measured["mib_data"] < measured["mib_peak_above_start"]
    assert measured["multiple"] == measured["mib_peak_above_start"] / (measured["mib_data"] + measured["mib_network"])
    assert measured["seconds_per_image"] == measured["fit_seconds"] / 20_000
    assert f"| 20,000 | {measured['fit_seconds']:.1f} | " in table("scaling", "20000", measured)


@pytest.mark.parametrize("number", [5, 100_000])
def test_fewer_or_more_images_than_can_be_measured_are_refused(number, peers, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(peers, monkeypatch, "--images", number)
    assert f"--images: must be from 120 to 60000, got {number}" in capsys.readouterr().err


def test_more_images_than_there_are_repeat_them_with_noise(peers):
    X, y = load_fashion_mnist(return_X_y=True)
    more, labels = module("_fits").enlarged(60_500)
    assert more.dtype == np.uint8
    np.testing.assert_array_equal(more[:60_000], X)
    np.testing.assert_array_equal(labels[60_000:], y[:500])
    difference = np.abs(more[60_000:].astype(int) - X[:500])
    assert 0 < difference.mean() < difference.max() == 8


def test_share_of_the_peak(peers, monkeypatch):
    monkeypatch.setattr(module("_speed"), "MATRICES", (32, 256))
    measured = peers.peak("cnn", peers.options().parse_args(["--images", "128", "--rounds", "1"]))
    assert measured["multiply_adds"] == 19_094_528
    for dtype, best in measured["peak_gflops"].items():
        assert best == max(speed for side, speed in measured["gflops"].items() if side.startswith(dtype)) > 0
    assert measured["share"] == measured["gflops"]["training"] / measured["peak_gflops"][measured["precision"]]
    assert f"({measured['share']:.0%})" in table("peak", "cnn", measured)


def test_rows_are_kept_until_they_are_measured_again(peers, monkeypatch, tmp_path, capsys):
    asked = []

    def in_a_process(part, row):
        asked.append(row)
        return None if row == "240000" else {"measured": len(asked)}

    monkeypatch.setattr(peers, "in_a_process", in_a_process)
    with pytest.raises(SystemExit, match="without scaling, 240000, which failed"):
        run(peers, monkeypatch, "--parts", "scaling")
    assert asked == ["1000", "10000", "60000", "240000"]
    run(peers, monkeypatch, "--parts", "peak")
    with pytest.raises(SystemExit):
        run(peers, monkeypatch, "--parts", "peak", "scaling")
    assert asked[4:] == ["ResNetClassifier", "cnn", "240000"]             # what failed is tried again
    run(peers, monkeypatch, "--parts", "scaling", "--only", "10000")
    found = {row: value["measured"] for row, value in result(tmp_path)["scaling"]["rows"].items()}
    assert found == {"1000": 1, "10000": 8, "60000": 3}
    assert len(result(tmp_path)["peak"]["rows"]) == 2
    assert result(tmp_path)["environment"]["torch"] == torch.__version__

    for wrong, reason in ((["--images", "700"], "choose --afresh or another --name"),
                          (["--only", "11"], "--only must name some of '1000', ")):
        with pytest.raises(SystemExit):
            run(peers, monkeypatch, "--parts", "scaling", *wrong)
        assert reason in capsys.readouterr().err
    run(peers, monkeypatch, "--parts", "peak", "--images", "700", "--afresh")
    assert asked[8:] == ["ResNetClassifier", "cnn"]
    assert len(result(tmp_path)["scaling"]["rows"]) == 3


def test_a_row_is_measured_in_a_process_of_its_own(peers, monkeypatch, tmp_path):
    run(peers, monkeypatch, "--parts", "fits", "--images", 300, "--only", "k-NN 0")
    (row,) = result(tmp_path)["fits"]["rows"].values()
    assert (row["side"], row["images"]) == ("k-NN", 300)
    assert 0.5 < row["test_accuracy"] < 0.9
    text = "\n".join(module("_peers_tables").peers())
    assert "| k-NN | 300 | 1 | " in text
    assert text.count("**") == 2                               # no tables of parts that are not measured


def test_every_table_names_the_machine_of_its_own_rows(peers):
    environment = {"processor": "last", "torch": "2.13", "cores": 2, "gpu": None, "git": "0"}
    rows = [{"processor": "first", "git": "1"}, {"processor": "first", "git": "2"}, {"processor": "last", "git": "3"}]
    assert list(module("_peers_tables").machines({"environment": environment, "device": "cpu"}, rows)) == [
        "2 cores of first, PyTorch 2.13", "2 cores of last, PyTorch 2.13"]


def test_what_is_not_installed_is_left_out(peers, monkeypatch, capsys):
    for package in ("keras", "skimage", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    args = peers.options().parse_args(["--seeds", "4", "5"])
    rows = peers.PARTS["fits"].rows(args)
    assert {"fmnist_sk 4", "fmnist_sk 5", "k-NN 4"} <= set(rows)
    assert not {"Keras 4", "HOG + SVC 4", "k-NN 5"} & set(rows)
    assert peers.PARTS["inference"].rows(args) == ["ResNetClassifier"]
    assert "Keras is left out: it needs the extra fmnist_sk[peers]" in capsys.readouterr().out


def test_without_results_there_are_no_tables(peers, capsys):
    assert module("_peers_tables").peers() == []
    assert "results/peers.json is not there" in capsys.readouterr().out
