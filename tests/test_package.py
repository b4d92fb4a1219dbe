"""The package as a whole: what importing it does, what it installs."""
import ast
import configparser
import doctest
import importlib
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fmnist_sk
from fmnist_sk.persistence import PRETRAINED

ROOT = Path(__file__).parent.parent


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)


def test_importing_prints_seeds_and_sets_nothing():
    result = run("""
import os, random, numpy, pandas, torch, skorch, sklearn
def state():
    return (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist(), dict(os.environ),
            torch.get_num_threads(), torch.backends.cudnn.benchmark, sklearn.get_config())
before = state()
import fmnist_sk
assert state() == before
""")
    assert result.stdout == ""
    assert result.stderr == ""


def test_importing_costs_little_beyond_the_dependencies():
    dependencies = "numpy, pandas, joblib, torch, skorch, sklearn"
    before, after = (set(run(f"import sys, {names}; print(*sys.modules)").stdout.split())
                     for names in (dependencies, f"{dependencies}, fmnist_sk"))
    others = {name for name in after - before if not name.startswith("fmnist_sk")}
    packages = {name.partition(".")[0] for name in others} - sys.stdlib_module_names
    # No PIL, matplotlib, safetensors, dask, ... _loss is how scikit-learn 1.8 names a part of itself.
    assert packages <= {"filelock", "_loss", *dependencies.split(", ")}
    assert len(others) < 150                                     # torch._dynamo alone would be twice as many


def test_importing_does_not_need_the_extras():
    run("import sys; sys.modules.update(dict.fromkeys(['matplotlib', 'rich', 'pytest', 'safetensors', 'skops', 'onnx', "
        "'onnxruntime', 'onnxscript', 'PIL', 'cv2', 'tensorboard', 'imblearn'])); import fmnist_sk")


def test_version_is_the_installed_one():
    assert importlib.metadata.version("fmnist_sk") == fmnist_sk.__version__


def test_lower_bounds_are_the_oldest_versions_that_are_tested():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    bounds = {line.replace(" >= ", "==") for line in "\n".join(declared).splitlines() if line}
    oldest = (ROOT / "tests" / "constraints-oldest.txt").read_text()
    pins = {line for line in oldest.splitlines() if "==" in line}
    assert bounds - pins == {"torch==2.11"}
    assert pins - bounds == {"torch==2.13.0", "pyparsing==3.1.0"}


def test_type_hints_are_announced():
    assert (Path(fmnist_sk.__file__).parent / "py.typed").exists()


def test_wheel_and_sdist_are_complete(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "fmnist_sk", source / "fmnist_sk", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for kind in ("wheel", "sdist"):
        subprocess.run([sys.executable, "-c", f"from setuptools.build_meta import build_{kind}; "
                        f"build_{kind}({str(tmp_path)!r})"], cwd=source, check=True, capture_output=True)
    wheel, sdist = next(tmp_path.glob("*.whl")), next(tmp_path.glob("*.tar.gz"))
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "fmnist_sk").rglob("*.py")} | {
        "fmnist_sk/py.typed", "fmnist_sk/pretrained/README.md",
        *(f"fmnist_sk/pretrained/{name}" for name in PRETRAINED.values())}
    assert sources <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert sources | {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= names


def test_every_public_name_is_documented():
    for name in fmnist_sk.__all__:
        doc = getattr(fmnist_sk, name).__doc__
        assert doc, name
        assert not doc.startswith(f"{name}("), f"{name} has only the signature that dataclass makes"


MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts)
                 for path in (ROOT / "fmnist_sk").rglob("[a-z]*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_give_what_they_say(module):
    # None of the module's own names: an example imports what it uses.
    assert doctest.testmod(importlib.import_module(module), globs={"__name__": "__main__"}).failed == 0


# ---------------------------------------------------------------------- how the estimator's files hang together

FILES = [ROOT / "fmnist_sk" / "classifier.py", *(ROOT / "fmnist_sk" / "_estimator").glob("*.py"),
         *(ROOT / "fmnist_sk" / "_training").glob("*.py"), *(ROOT / "fmnist_sk" / "networks").glob("*.py"),
         *(ROOT / "fmnist_sk" / f"{name}.py" for name in ("persistence", "ensemble", "inspection", "attribution"))]
NETS = {"self", "net", "classifier"}            # what a classifier is called in these files


def private_names(path):
    """Of a classifier, the private attributes that a file writes and those it reads; and the methods it defines."""
    written, read, defined = set(), set(), set()
    classes = {"NetProtocol", "SkorchNet", "ImageClassifier"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and classes & {node.name, *(base.id for base in node.bases
                                                                       if isinstance(base, ast.Name))}:
            defined |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)
                        and item.name.startswith("_") and not item.name.startswith("__")}
        owner = getattr(node, "value", None)
        if isinstance(node, ast.Attribute) and getattr(owner, "id", getattr(owner, "attr", "")) in NETS and (
                node.attr.startswith("_") and not node.attr.startswith("__")):
            (read if isinstance(node.ctx, ast.Load) else written).add(node.attr)
    return written, read, defined


def test_few_private_names_of_the_estimator_are_used_across_files():
    found = {path: private_names(path) for path in FILES}
    methods = set().union(*(defined for _, _, defined in found.values()))
    of_net = {path for path, (_, _, defined) in found.items() if defined or path.parent.name == "_estimator"}
    attributes = {name for path, (_, read, _) in found.items() for name in read - methods
                  if any(name in written for other, (written, _, _) in found.items() if other in of_net - {path})}
    assert attributes <= {"_encoder", "_generators", "_fit"}
    called = {name for path, (_, read, defined) in found.items() for name in read & methods - defined}
    assert "_plan_phases" in called                             # the training asks the net for it
    # _validate_params is scikit-learn's, _set_training skorch's, _lr_name a property.
    assert len(called - {"_validate_params", "_set_training", "_lr_name"}) <= 6
