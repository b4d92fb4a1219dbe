"""The site: what it is made of is there, and docstrings of public names are in numpydoc's form."""
import inspect
import re
import runpy
from pathlib import Path

import pytest
from numpydoc.validate import validate
from sklearn.base import BaseEstimator
from torch.optim.lr_scheduler import StepLR

import fmnist_sk

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "examples/guide"
PUBLIC = [name for name in fmnist_sk.__all__ if callable(getattr(fmnist_sk, name))]
# Not asked for: "See Also", long descriptions, imperative verbs, types of parameters that are described together.
LEFT_OUT = {"SA01", "ES01", "SS05", "PR04"}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_in_numpydocs_form(name):
    result = validate(f"fmnist_sk.{name}")
    # ImageClassifier describes the parameters that it shares with the networks.
    left_out = LEFT_OUT | ({"PR01"} if name in fmnist_sk.networks.__all__ else set())
    assert [error for error in result["errors"] if error[0] not in left_out] == []
    assert "http" not in result["docstring"].partition("\n\n")[0]      # lists show the first line


METHODS = [f"{name}.{method}" for name, methods in
           runpy.run_path(str(GUIDE / "conf.py"))["autosummary_context"]["methods"].items() for method in methods]


@pytest.mark.parametrize("name", METHODS)
def test_methods_on_the_site_describe_parameters_and_results(name):
    result = validate(f"fmnist_sk.{name}")
    assert [error for error in result["errors"] if error[0] in
            {"GL06", "GL07", "GL08", "PR01", "PR02", "PR03", "PR07", "RT01"}] == []
    assert ">>> " not in result["docstring"].partition("\nExamples\n")[0]


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_has_an_example(name):
    assert re.search(r"^Examples\n-+$", inspect.getdoc(getattr(fmnist_sk, name)), re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.endswith("Display")])
def test_public_functions_with_parameters_document_them(name):
    public = getattr(fmnist_sk, name)
    if inspect.isfunction(public) and inspect.signature(public).parameters:
        assert re.search(r"^Parameters\n-+$", inspect.getdoc(public), re.MULTILINE)


def test_everything_public_is_in_the_reference():
    listed = re.findall(r"^   (\w+)$", (GUIDE / "api.rst").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == set(PUBLIC)


def test_every_page_of_the_guide_is_on_the_first_page_and_on_the_site():
    pages = {path.stem for path in GUIDE.glob("*.md")} - {"index", "guide", "results", "reports", "card"}
    toctree = re.search(r"```{toctree}(.*?)```", (GUIDE / "guide.md").read_text(), re.DOTALL)[1].split()[2:]
    linked = re.findall(r"\(examples/guide/(\w+)\.md\)", (ROOT / "README.md").read_text())
    assert toctree == linked
    assert set(toctree) == pages


def test_the_gallery_has_a_title_and_a_text_for_each_script():
    scripts = sorted((ROOT / "examples/gallery").glob("plot_*.py"))
    assert len(scripts) >= 12
    for script in scripts:
        title, line, text = re.match(r'"""\n(.*)\n(=+)\n\n(.*?)\n"""', script.read_text(), re.DOTALL).groups()
        assert len(title) == len(line), script
        assert text


ESTIMATORS = [name for name in PUBLIC if isinstance(getattr(fmnist_sk, name), type)
              and issubclass(getattr(fmnist_sk, name), BaseEstimator)]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_notebooks_view_links_to_the_page_of_the_class(name, monkeypatch):
    kind = getattr(fmnist_sk, name)
    needed = {"FeatureExtractor": ["network"], "Preset": ["fashion"], "TorchSchedule": [StepLR]}.get(name, [])
    estimator = kind(*needed)
    monkeypatch.delenv("FMNIST_SK_SITE", raising=False)
    assert "href" not in estimator._repr_html_()
    monkeypatch.setenv("FMNIST_SK_SITE", "http://localhost:8000/")
    assert f'href="http://localhost:8000/api/fmnist_sk.{name}.html"' in estimator._repr_html_()


def test_a_class_of_a_users_own_has_no_page(monkeypatch):
    class Own(fmnist_sk.ConvNetClassifier):
        pass

    monkeypatch.setenv("FMNIST_SK_SITE", "http://localhost:8000")
    assert "href" not in Own()._repr_html_()
