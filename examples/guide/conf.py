"""Settings of the site: ``sphinx-build -W examples/guide output/site``."""
import warnings
from dataclasses import fields
from pathlib import Path

import fmnist_sk

HERE = Path(__file__).parent

SHOWN = ("fit", "partial_fit", "fit_transform", "fit_resample", "transform", "inverse_transform", "predict",
         "predict_proba", "score", "set_params", "to_onnx", "to_exported_program", "tensor", "plot")


def methods_shown():
    """Methods on the page of each class: of a network, only those that ImageClassifier has not."""
    found = {}
    for name in fmnist_sk.__all__:
        if isinstance(kind := getattr(fmnist_sk, name), type):
            known = vars(kind) if name in fmnist_sk.networks.__all__ else dir(kind)
            found[name] = [*(method for method in known if method.startswith("from_")),
                           *(method for method in SHOWN if method in known)]
    return found


project, author, release = "fmnist_sk", "the founders of fmnist_sk", fmnist_sk.__version__
html_show_copyright = False
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser",
              "sphinx_gallery.gen_gallery", "sphinx_copybutton"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["**/README.txt"]
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "fmnist_sk"
html_theme_options = {"show_nav_level": 2, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"],
                      "header_links_before_dropdown": 6}
html_sidebars = {"results": [], "reports": [], "card": []}       # their tables are wide
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
smartquotes = False
copybutton_prompt_text, copybutton_prompt_is_regexp = r">>> |\.\.\. |\$ ", True

autosummary_generate = True
autosummary_context = {"methods": methods_shown(), "networks": fmnist_sk.networks.__all__}        # for class.rst
autodoc_typehints = "none"              # docstrings and signatures say them
numpydoc_show_class_members = False
default_role = "py:obj"

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "capture_repr": ("_repr_html_",),
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
    "matplotlib_animations": False,
}
warnings.filterwarnings("ignore", category=UserWarning, message=".*non-interactive.*")


# The pages of results, of the reports and of the trained networks are kept elsewhere, where links are relative to them.
ELSEWHERE = {"results": "../benchmarks/README.md", "reports": "../benchmarks/reports.md",
             "card": "../../fmnist_sk/pretrained/README.md"}


def read_source(app, docname, source):
    """Take such a page from where it is, and let links lead to its place on the site."""
    text = source[0]
    if docname in ELSEWHERE:
        text = (HERE / ELSEWHERE[docname]).read_text()
        text = text.replace("](README.md)", "](results.md)").replace("](../guide/", "](")
        text = text.replace("](results/", "](../benchmarks/results/")
    for name, path in ELSEWHERE.items():
        text = text.replace(f"]({path}", f"]({name}.md")
    if docname == "reports":
        text += "\n## Choices of ours\n\n```{eval-rst}\n.. automodule:: fmnist_sk.reference\n   :no-members:\n```\n"
    if docname == "results":
        text += "\n## More\n\n```{toctree}\nreports\ncard\n```\n"
    source[0] = text


def process_signature(app, what, name, obj, options, signature, return_annotation):
    """The parameters of an estimator: Sphinx shows those of skorch's __new__."""
    if what == "class" and issubclass(obj, fmnist_sk.ImageClassifier):
        defaults = {field.name: getattr(field.default, "__name__", repr(field.default)) for field in fields(obj)}
        return f"({', '.join(f'{name}={default}' for name, default in defaults.items())})", None
    return None


def setup(app):
    app.connect("source-read", read_source)
    app.connect("autodoc-process-signature", process_signature)
