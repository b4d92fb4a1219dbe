"""examples/train.py and evaluate.py on pictures and files of the user's own."""
import importlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scripts import EXAMPLES, run
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from trained import FASHION, digest

import fmnist_sk
from fmnist_sk import ConvNetClassifier, ImageReader, load_image_folder


@pytest.fixture
def pictures(tmp_path):
    """Thirty pictures in colour of each of three classes, in their folders."""
    rng = np.random.default_rng(0)
    for name, colour in (("a bag", (200, 30, 30)), ("coat", (30, 200, 30)), ("shoe", (30, 30, 200))):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(30):
            values = (np.array(colour) + rng.integers(-25, 25, (20 + i, 30, 3))).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"


OWN = ["--set", "architecture=4C3-MP2", "--epochs", "3", "--batch-size", "16", "--lr", "0.01", "--model",
       "ConvNetClassifier"]


def test_pictures_of_a_folder_are_trained_on_and_evaluated(train, pictures, tmp_path, capsys):
    output = tmp_path / "run"
    train.main([*OWN, "--folder", str(pictures), "--size", "16", "--color", "rgb", "--output", str(output)])
    config, results = (json.loads((output / f"{name}.json").read_text()) for name in ("config", "results"))
    assert config["data"] == {**FASHION, "n_train": None, "folder": str(pictures), "size": 16, "color": "rgb"}
    assert list(results["test_accuracy_of_each_class"]) == ["a bag", "coat", "shoe"]
    model = fmnist_sk.load(output / "model.safetensors")
    assert model.classes_.tolist() == ["a bag", "coat", "shoe"]
    assert model.image_shape_ == (3, 16, 16)
    assert "72 training images" in capsys.readouterr().out
    train.main(["--config", str(output / "config.json"), "--output", str(tmp_path / "again")])
    assert digest(tmp_path / "again") == digest(output)

    out = run("evaluate.py", output / "model.safetensors", "--folder", pictures, "--embed", 10, "--output",
              tmp_path / "evaluation")
    assert f"accuracy: {results['test_accuracy']:.4f}" in out
    mistakes = pd.read_csv(tmp_path / "evaluation" / "mistakes.csv")
    assert len(mistakes) == round(18 * (1 - results["test_accuracy"]))
    assert mistakes["image"].str.match(r"pictures/.*/\d+.png").all()
    run("evaluate.py", output / "model.safetensors", "--folder", pictures, "--part", "all", "--embed", 10, "--output",
        tmp_path / "all")
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert (metrics["data"], metrics["part"], metrics["n_images"]) == (str(pictures), "all", 90)


@pytest.mark.parametrize("kind", ["pipeline", pytest.param("search", marks=pytest.mark.exhaustive), "numbers"])
def test_models_of_users_own_are_evaluated_on_their_folders(kind, pictures, tmp_path):
    net = ConvNetClassifier(architecture="4C3-MP2", max_epochs=3, lr=0.01, random_state=0)
    label = "folder" if kind == "numbers" else "name"
    found = load_image_folder(pictures, size=16, color="rgb", resize="crop", label=label)
    if kind == "numbers":
        model = net.fit(found.images, found.target)
    else:
        reads = make_pipeline(ImageReader(16, "rgb", "crop"), net)
        model = (reads if kind == "pipeline" else GridSearchCV(reads, {"convnetclassifier__lr": [0.01]}, cv=2)).fit(
            found.paths, found.target)
    accuracy = model.score(found.images if kind == "numbers" else found.paths, found.target)
    fmnist_sk.save(model, tmp_path / "model.safetensors")
    out = run("evaluate.py", tmp_path / "model.safetensors", "--folder", pictures, "--part", "all", "--embed", 10,
              "--output", tmp_path / "all")
    assert "a bag" in out
    if kind != "numbers":                       # that one is shown pictures as they are padded, not cut
        assert f"accuracy: {accuracy:.4f}" in out


def test_numbers_that_may_mean_two_things_are_refused(train, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    models = importlib.import_module("_models")
    names = sorted(fmnist_sk.CLASS_NAMES)
    codes = np.arange(10)
    data = train.load_data.__globals__["Data"](np.zeros((10, 28, 28)), codes, np.array(names), names, codes.astype(str))
    model = fmnist_sk.load_pretrained()
    fashion = models.labels_for(model, data, "pretrained")
    assert [fmnist_sk.CLASS_NAMES[code] for code in fashion] == names
    with pytest.raises(ValueError, match="mine must know the labels of the images"):       # alphabetical, or not?
        models.labels_for(model, data, "mine")


def test_pretrained_networks_know_garments_by_name(tmp_path):
    for i, name in enumerate(("Dress", "Bag")):
        (tmp_path / "garments" / name).mkdir(parents=True)
        for j in range(6):
            Image.new("L", (28, 28), 20 * i + j).save(tmp_path / "garments" / name / f"{j}.png")
    run("evaluate.py", "pretrained", "--folder", tmp_path / "garments", "--part", "all", "--embed", 5, "--output",
        tmp_path / "out")
    assert set(pd.read_csv(tmp_path / "out" / "mistakes.csv")["label"]) <= {3, 8}


def test_names_with_signs_of_formulas_are_names(train, pictures, tmp_path):
    (pictures / "coat").rename(pictures / "under $5 and \\over$ x")
    first = next((pictures / "shoe").iterdir())
    first.rename(first.with_name("$_$ $.png"))
    train.main([*OWN, "--folder", str(pictures), "--epochs", "1", "--output", str(tmp_path / "run")])
    for script, *options in [("evaluate.py", tmp_path / "run" / "model.safetensors", "--embed", 10),
                             ("audit_dataset.py", "--folds", 0), ("visualize_data.py", "--images", 20)]:
        run(script, *options, "--folder", pictures, "--output", tmp_path / script)


def test_parts_of_a_folder_are_used(train, pictures, tmp_path):
    for part, rows in (("train", range(20)), ("test", range(20, 30))):
        for name in ("a bag", "coat", "shoe"):
            (tmp_path / "parts" / part / name).mkdir(parents=True)
            for i in rows:
                shutil.copy(pictures / name / f"{i}.png", tmp_path / "parts" / part / name)
    source = {**FASHION, "folder": str(tmp_path / "parts")}
    parts = [train.load(part, None, 0, **source) for part in ("train", "test")]
    assert [len(part.images) for part in parts] == [60, 30]
    assert {name.split("/")[0] for name in parts[1].where} == {"test"}
    everything = train.load_data("all", **source)
    assert len(set(everything.where)) == 90
    assert np.isin(everything.where, parts[1].where).sum() == 30


def test_an_audit_leaves_out_test_images_that_have_copies_in_train(train, tmp_path):
    """Each image is there twice; which are test images does not depend on their order."""
    X, y = np.random.default_rng(0).integers(0, 256, (30, 64)), np.arange(30) % 2
    pd.DataFrame(np.tile(X, (2, 1))).add_prefix("p").assign(label=np.tile(y, 2)).to_csv(tmp_path / "a.csv", index=False)
    model = ConvNetClassifier(architecture="2C3", max_epochs=1).fit(X.reshape(-1, 8, 8), y)
    fmnist_sk.save(model, tmp_path / "a.safetensors")
    run("audit_dataset.py", "--csv", tmp_path / "a.csv", "--folds", 0, "--model", tmp_path / "a.safetensors",
        "--output", tmp_path)
    found = json.loads((tmp_path / "audit.json").read_text())["test_accuracy"]
    rows = {int(name.split()[1]) for name in train.load_data("test", csv=tmp_path / "a.csv").where}
    assert found["model"] == str(tmp_path / "a.safetensors")
    assert found["all"]["n"] == len(rows)
    assert found["without copies in train"]["n"] == sum((row + 30) % 60 in rows for row in rows) < len(rows)


@pytest.mark.parametrize("labels", ["texts", "numbers"])
def test_images_of_a_csv_file_are_trained_on_and_evaluated(labels, train, tmp_path):
    digits = load_digits()
    rows = digits.target < 3
    target = np.array(["zero", "one", "two"])[digits.target[rows]] if labels == "texts" else digits.target[rows] + 5
    frame = pd.DataFrame(digits.data[rows].astype(int)).add_prefix("p").assign(label=target)
    frame.to_csv(tmp_path / "a.csv", index=False)
    train.main([*OWN, "--csv", str(tmp_path / "a.csv"), "--output", str(tmp_path / "run")])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["test_accuracy_of_each_class"]) == {str(label) for label in set(target)}
    out = run("evaluate.py", tmp_path / "run" / "model.safetensors", "--csv", tmp_path / "a.csv", "--embed", 10,
              "--output", tmp_path / "evaluation")
    assert f"accuracy: {results['test_accuracy']:.4f}" in out


def test_fashion_mnist_in_a_csv_file_of_some_classes_keeps_their_names(train, tmp_path):
    frame = pd.DataFrame(np.zeros((20, 784), dtype=int)).add_prefix("p").assign(label=[0, 3, 8, 9] * 5)
    frame.to_csv(tmp_path / "fashion.csv", index=False)
    data = train.load("train", None, 0, **{**FASHION, "csv": str(tmp_path / "fashion.csv")})
    assert data.names == ["T-shirt/top", "Dress", "Bag", "Ankle boot"]
    assert data.labels.tolist() == [0, 3, 8, 9]


def test_a_config_never_stands_beside_results_of_another_run(train, pictures, tmp_path, capsys):
    command = [*OWN, "--folder", str(pictures), "--output", str(tmp_path / "run")]
    train.main(command)
    before = digest(tmp_path / "run"), (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(SystemExit):
        train.main([*command, "--seed", "1"])
    assert "holds the results of a run with other settings: give another --output, or --overwrite" in \
        capsys.readouterr().err
    assert (digest(tmp_path / "run"), (tmp_path / "run" / "config.json").read_text()) == before
    train.main(command)                                                     # the same again
    assert digest(tmp_path / "run") == before[0]
    with pytest.raises(SystemExit):
        train.main([*command, "--seed", "1", "--overwrite", "--lr", "1e30"])         # a fit that fails
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"checkpoint", "config.json"}
    train.main([*command, "--seed", "2"])                                   # there are no results to lose
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 2


def test_a_source_that_is_given_replaces_that_of_a_config(train, tmp_path):
    for name, *options in (("folder", *OWN), ("csv", "--config", str(tmp_path / "folder.json"))):
        _, args = train.parse([*options, f"--{name}", "mine", "--size", "16"], "")
        _, config = train.configure(args)
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
        assert config["data"] == {**FASHION, "n_train": None, name: "mine", "size": 16}


@pytest.mark.parametrize(("options", "message"), [
    (["--folder", "/nowhere"], "there is none at '/nowhere'"), (["--csv", "/nowhere"], "there is none at '/nowhere'"),
    (["--folder", "{folder}", "--size", "0"], "size must be a whole number"),
    (["--folder", "{folder}", "--csv", "a"], "not allowed with argument"),
])
def test_what_is_wrong_with_a_source_is_said(options, message, train, pictures, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main([*OWN, *(text.format(folder=pictures) for text in options)])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
