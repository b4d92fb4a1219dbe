"""The scripts that look at models, data and photos write what they promise."""
import base64
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_images
from estimators import small
from fashion import real_data
from PIL import Image
from scripts import EXAMPLES, fails, pixels, run
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

import fmnist_sk
from fmnist_sk import CLASS_NAMES, FeatureExtractor, ImageScaler, PhotoToFashion, load_fashion_mnist
from fmnist_sk.persistence import PRETRAINED

PRETRAINED_FOLDER = Path(fmnist_sk.__file__).parent / "pretrained"

# ---------------------------------------------------------------------- evaluate.py

@real_data
def test_evaluate_writes_a_page_that_needs_no_other_file(tmp_path):
    out = run("evaluate.py", "pretrained", "--embed", 200, "--output", tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert f"accuracy: {metrics['accuracy']:.4f} (95 % interval " in out
    assert metrics["accuracy"] > 0.925
    assert (metrics["data"], metrics["part"], metrics["n_images"]) == ("Fashion-MNIST", "test", 10_000)
    assert re.search(r"^ +precision +recall ", out, re.MULTILINE)
    assert metrics["interval"][0] < metrics["accuracy"] < metrics["interval"][1]
    assert metrics["accuracy_of_each_class"]["Shirt"] == min(metrics["accuracy_of_each_class"].values())
    pictures = sorted(path.stem for path in tmp_path.glob("*.png"))
    assert pictures == ["class_accuracy", "confusion_matrix", "feature_maps", "features", "filters", "grad_cam",
                        "history", "mistakes", "reliability"]
    page = (tmp_path / "report.html").read_text()
    assert f"{100 * metrics['accuracy']:.2f} %" in page
    inside = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert {base64.b64decode(data) for data in inside} == {path.read_bytes() for path in tmp_path.glob("*.png")}
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    for name in pictures:
        pixels(tmp_path / f"{name}.png")
    assert 'name="viewport"' in page
    mistakes = pd.read_csv(tmp_path / "mistakes.csv")
    assert len(mistakes) == round(10_000 * (1 - metrics["accuracy"]))
    assert mistakes["image"].str.match(r"test \d+$").all()


@real_data
def test_evaluate_takes_pipelines_other_labels_and_what_is_no_network(tmp_path):
    data = load_fashion_mnist("train")
    names = data.target_names[data.target]
    models = {
        "pipeline": make_pipeline(ImageScaler(), small("ConvNetClassifier", max_epochs=1, validation_fraction=0.2)),
        "voting": VotingClassifier([("net", small("ConvNetClassifier", max_epochs=1))], voting="hard"),
    }
    for name, model in models.items():
        model.fit(data.images[:500], names[:500] if name == "pipeline" else data.target[:500])
        fmnist_sk.save(model, tmp_path / f"{name}.safetensors")
        out = run("evaluate.py", tmp_path / f"{name}.safetensors", "--embed", 50, "--output", tmp_path / name)
        assert "Ankle boot" in out
        rates = json.loads((tmp_path / name / "metrics.json").read_text())["accuracy_of_each_class"]
        test = load_fashion_mnist("test")
        right = model.predict(test.images) == (test.target_names[test.target] if name == "pipeline" else test.target)
        assert rates == {str(label): pytest.approx(right[test.target == code].mean())
                         for code, label in enumerate(CLASS_NAMES)}
        assert (tmp_path / name / "report.html").exists()
        assert (tmp_path / name / "class_history.png").exists() == (name == "pipeline")
        assert (tmp_path / name / "reliability.png").exists() == (name != "voting")


@pytest.mark.parametrize("arguments", [["nowhere.safetensors"], ["README.md"], ["pretrained", "--part", "all"]])
def test_evaluate_says_what_is_wrong(arguments, tmp_path):
    (tmp_path / "README.md").write_text("hello")
    error = fails("evaluate.py", *arguments, cwd=tmp_path)
    assert re.search(r"error: .*(there is none at 'nowhere|README.md is damaged, or not a file that save|"
                     r"--part must be given with --folder or --csv.* got all)", error)


# ---------------------------------------------------------------------- visualize_data.py, audit_dataset.py

@real_data
def test_visualize_data_writes_its_pictures(tmp_path):
    out = run("visualize_data.py", "--images", 200, "--model", "pretrained", "--output", tmp_path)
    assert "60,000 images of 28 x 28 pixels, values 0 to 255, mean 72.9" in out
    found = sorted(path.stem for path in tmp_path.iterdir())
    assert found == ["augmentation", "class_means", "features_tsne", "pixels_pca", "pixels_tsne", "samples"]
    for path in tmp_path.iterdir():
        pixels(path)


@pytest.fixture
def audit(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import audit_dataset
    return audit_dataset


def test_duplicates_are_found(audit):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (300, 28, 28), dtype=np.uint8)
    X[10] = X[5]                                                    # equal, within train
    X[250] = X[20]                                                  # equal, between
    X[260] = np.clip(X[251].astype(int) + rng.integers(-4, 5, (28, 28)), 0, 255)           # near, within test
    X[280] = X[30, :, ::-1]                                         # mirrored, between
    found = audit.find_duplicates(X, np.arange(300) >= 200, threshold=8)
    assert {(row["first"], row["second"], row["where"], row["mirrored"]) for row in found.to_dict("records")} == {
        (5, 10, "within train", False), (20, 250, "between train and test", False),
        (251, 260, "within test", False), (30, 280, "between train and test", True)}
    near, = found.query("first == 251")["distance"]
    assert 2 < near < 4
    assert (found.query("first != 251")["distance"] == 0).all()


def test_wrong_labels_are_found(audit):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    proba = 0.1 + 0.7 * np.eye(3)[truth] + rng.uniform(0, 0.05, (600, 3))
    proba /= proba.sum(1, keepdims=True)
    y = truth.copy()
    wrong = rng.choice(600, 30, replace=False)
    y[wrong] = (truth[wrong] + 1) % 3
    found = audit.find_label_errors(y, proba)
    assert len(set(wrong) & set(found["image"])) > 25               # a label may be as probable by chance
    assert set(found["image"][:25]) <= set(wrong)
    assert (found["guess"].to_numpy() == truth[found["image"]])[:25].all()
    assert found["p_label"].is_monotonic_increasing


def test_galleries_have_a_heading(audit, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(audit.plt, "close", figures.append)
    images = np.zeros((3, 28, 28))
    audit.draw_gallery([((image, image), "3.0") for image in images], 2, tmp_path / "a.png", "pairs")
    assert figures[0].get_suptitle() == "pairs"


@real_data
def test_audit_writes_tables_and_galleries(tmp_path):
    out = run("audit_dataset.py", "--images", 3000, "--folds", 2, "--epochs", 1, "--threshold", 25, "--output",
              tmp_path)
    content = json.loads((tmp_path / "audit.json").read_text())
    assert content["images"] == 3000
    assert sum(part["near"] for part in content["duplicates"].values()) > 0
    found = content["test_accuracy"]["all"]
    assert found["interval_95"][0] < found["accuracy"] < found["interval_95"][1]
    assert content["test_accuracy"]["without copies in train"]["n"] <= found["n"]
    assert "labels are suspect" in out
    errors = pd.read_csv(tmp_path / "label_errors.csv")
    assert len(errors) == content["label_errors"]["suspect"]
    assert set(errors["label"]) <= set(CLASS_NAMES)
    assert errors["image"].str.match(r"(train|test) \d+$").all()
    for name in ("duplicates", "label_errors"):
        pixels(tmp_path / f"{name}.png")


# ---------------------------------------------------------------------- classify_photo.py, load_pretrained

def garment(path, code, index=0):
    """A photo of a garment of the data set, in red."""
    data = load_fashion_mnist("train")
    image = data.images[np.flatnonzero(data.target == code)[index]]
    mask = Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC)
    photo = Image.new("RGB", (400, 360), "white")
    photo.paste(Image.new("RGB", (280, 280), (130, 30, 40)), (60, 40), mask)
    photo.save(path)
    return path


@real_data
def test_photos_are_named_and_shown(tmp_path):
    out = run("classify_photo.py", garment(tmp_path / "a.png", 1), garment(tmp_path / "b.jpg", 7, 3), "--output",
              tmp_path / "seen.png")
    first, second = out.split("a.png")[1], out.split("b.jpg")[1]
    assert re.search(r"Trouser +\d+\.\d%", first)
    assert re.search(r"Sneaker +\d+\.\d%", second)
    assert len(re.findall(r"\d+\.\d%", out)) == 6
    assert re.search(r"^ +[-+*=#]{6,}", out, re.MULTILINE)
    assert f"wrote {tmp_path / 'seen.png'}" in out
    pixels(tmp_path / "seen.png")


def test_photos_that_are_none_are_named(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    assert "a.png is not a readable picture" in fails("classify_photo.py", "a.png", cwd=tmp_path)
    assert "there is no file at 'b.png'" in fails("classify_photo.py", "b.png", cwd=tmp_path)


@pytest.mark.parametrize(("output", "message"), [
    ("folder", "--output must name a file, but folder is a folder"),
    ("seen", "--output must end in one of .*, got seen"), ("a.txt", "--output must end in one of .*, .png, .*, got"),
    ("file/a.png", "--output must be in a folder that can be created: .*file"),
])
def test_a_picture_that_cannot_be_written_is_refused_first(output, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(fmnist_sk, "load_pretrained", lambda *_: pytest.fail("the work has begun"))
    monkeypatch.setattr(sys, "argv", ["classify_photo.py", "a.png", "--output", output])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / "classify_photo.py"), run_name="__main__")
    assert end.value.code == 2
    assert re.search(f"error: {message}", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(("name", "parameters", "size"), [("small", 25_000, 130_000), ("accurate", 300_000, 1_300_000)])
def test_pretrained_networks_are_small_and_have_a_card(name, parameters, size):
    model = fmnist_sk.load_pretrained(name)
    assert sum(parameter.numel() for parameter in model.module_.parameters()) < parameters
    assert (PRETRAINED_FOLDER / PRETRAINED[name]).stat().st_size < size
    card = card_of(name)
    for part in ("Network", "Recipe", "Measured"):
        assert part in card
    assert model.predict(np.zeros((1, 28, 28), dtype=np.uint8)).shape == (1,)


def test_pretrained_networks_are_found_by_name():
    assert type(fmnist_sk.load_pretrained()) is fmnist_sk.ResNetClassifier          # the small one
    for name in ("cpu", ["small"], {}, None):
        with pytest.raises(ValueError, match="one of 'small', 'accurate', got " + re.escape(f"name={name!r}")):
            fmnist_sk.load_pretrained(name)
    assert fmnist_sk.load_pretrained(device="cpu").module_.network is not None


def card_of(name):
    """The part of the card about one network."""
    card = (PRETRAINED_FOLDER / "README.md").read_text()
    return card.split(f'## `load_pretrained("{name}")`')[1].split("\n## ")[0]


@real_data
@pytest.mark.parametrize(("name", "least"), [("small", 0.925), pytest.param("accurate", 0.953,
                                                                           marks=pytest.mark.exhaustive)])
def test_pretrained_networks_are_as_good_as_their_cards_say(name, least):
    data = load_fashion_mnist("test")
    accuracy = fmnist_sk.load_pretrained(name).score(data.images, data.target)
    assert accuracy >= least
    measured, = re.findall(r"Measured\*\*: (\d+\.\d+) %", card_of(name))
    assert float(measured) == pytest.approx(100 * accuracy, abs=0.06)        # other hardware rounds otherwise
    results = json.loads((EXAMPLES / "benchmarks/results/pretrained.json").read_text())
    assert results[name]["test_accuracy"] == pytest.approx(accuracy, abs=6e-4)


# ---------------------------------------------------------------------- models that do not fit

@pytest.fixture(scope="module")
def unfit(tmp_path_factory):
    """Files that hold what the scripts cannot use."""
    folder = tmp_path_factory.mktemp("unfit")
    X, y = make_images(n=60, size=28)
    net = small("ConvNetClassifier", max_epochs=1)
    models = {"small": clone(net).fit(*make_images(size=20)), "three": clone(net).fit(X, y),
              "hard": VotingClassifier([("net", net)], voting="hard").fit(X, y),
              "features": FeatureExtractor(net).fit(X, y)}
    return {name: fmnist_sk.save(model, folder / f"{name}.safetensors") for name, model in models.items()}


@real_data
@pytest.mark.parametrize(("script", "name", "message"), [
    ("evaluate.py", "small", "must hold a classifier of 28 x 28 images"),
    ("classify_photo.py", "small", "Models of other pictures can be tried with web_demo.py, "),
    ("evaluate.py", "features", "must hold a classifier, got FeatureExtractor"),
    ("evaluate.py", "three", "must know the labels of the images"),
    ("audit_dataset.py", "three", "must know the labels of the images"),
    ("visualize_data.py", "hard", "must hold a network, whose features are drawn, got VotingClassifier"),
    ("classify_photo.py", "hard", "must hold a classifier that gives probabilities"),
])
def test_models_that_do_not_fit_are_refused_first(script, name, message, unfit, tmp_path, monkeypatch, capsys):
    arguments = [str(unfit[name])] if script == "evaluate.py" else ["--model", str(unfit[name])]
    arguments += ["x.png"] if script == "classify_photo.py" else []
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@real_data
def test_a_pipeline_that_begins_with_photos_is_taken(tmp_path):
    data = load_fashion_mnist("train")
    net = small("ConvNetClassifier", max_epochs=1).fit(data.images[:300], data.target_names[data.target[:300]])
    pipeline = make_pipeline(PhotoToFashion(), FrozenEstimator(net)).fit([data.images[0]], ["Bag"])
    fmnist_sk.save(pipeline, tmp_path / "model.safetensors")
    out = run("classify_photo.py", garment(tmp_path / "a.png", 1), "--model", tmp_path / "model.safetensors",
              "--output", tmp_path / "seen.png")
    assert len(re.findall(r"\d+\.\d%", out)) == 3
