"""Evaluate a trained model: a report, plots, and one HTML page with all of them.

    python examples/evaluate.py output/quickstart/model.safetensors

MODEL is a file that `fmnist_sk.save` wrote (quickstart.py and train.py do), or one of the package's networks:
"pretrained" or "accurate". Prints the test accuracy and a report with a row per class, and writes to
output/evaluate/NAME: plots, metrics.json, mistakes.csv, and report.html, which needs no other file. The images are
those of Fashion-MNIST, or your own:

    python examples/evaluate.py MODEL --folder pictures
"""
import argparse
import base64
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from _data import add_data_options, load_data
from _models import MODEL_HELP, check_takes, labels_for, names_for, open_model, reader_for
from _output import add_output, place_for
from jinja2 import Environment
from sklearn.metrics import accuracy_score, classification_report, log_loss
from sklearn.pipeline import Pipeline

import fmnist_sk
from fmnist_sk import ImageClassifier, ImageReader

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This script draws pictures with matplotlib: pip install 'fmnist_sk[plot]'") from None

WRITTEN = "metrics.json", "mistakes.csv", "report.html"            # beside the pictures
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100%; height: auto } table { border-collapse: collapse } pre { white-space: pre-wrap }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd } th:first-child { text-align: left }
.wide { overflow-x: auto } @media (max-width: 600px) { td, th { padding: .2rem .4rem } body { margin: 1rem auto } }
figure { margin: 2.5rem 0 } figcaption { color: #555 } .big { font-size: 2rem; font-weight: 600 }
</style></head><body>
<h1>{{ title }}</h1>
<p><span class="big">{{ "%.2f" | format(100 * metrics.accuracy) }} %</span> of {{ "{:,}".format(metrics.n_images) }} \
images of {{ data }} are classified correctly (95 % interval {{ "%.2f" | format(100 * metrics.interval[0]) }} to
{{ "%.2f" | format(100 * metrics.interval[1]) }} %).{% if metrics.log_loss is defined %}
Log loss {{ "%.3f" | format(metrics.log_loss) }}, expected calibration error \
{{ "%.3f" | format(metrics.calibration_error) }}.{% endif %}</p>
<pre>{{ model }}</pre>
<div class="wide">{{ table | safe }}</div>
{% for name, (caption, picture) in pictures.items() %}<figure id="{{ name }}"><figcaption>{{ caption }}</figcaption>
<img alt="{{ caption }}" src="data:image/png;base64,{{ picture }}"></figure>
{% endfor %}<p>Made by fmnist_sk {{ version }}.</p>
</body></html>
"""


def pictures_of(model, X, y, y_pred, y_proba, names, where, n_embedded):
    """The name, caption and display of each picture, one after the other."""
    seen = None if names is None else [name for name, label in zip(names, model.classes_, strict=True)
                                       if label in y or label in y_pred]
    yield "class_accuracy", "Accuracy of each class", \
        fmnist_sk.ClassAccuracyDisplay.from_predictions(y, y_pred, class_names=seen)
    yield "confusion_matrix", "True and predicted classes, and images of the most frequent confusions", \
        fmnist_sk.ConfusionDisplay.from_predictions(y, y_pred, X, class_names=seen)
    if y_proba is not None:
        yield "mistakes", "The most confident mistakes", \
            fmnist_sk.MistakesDisplay.from_predictions(y, y_proba, X, classes=model.classes_, class_names=names,
                                                       image_names=where)
        yield "reliability", "Whether predictions with a confidence of 90 % are right in 90 % of cases", \
            fmnist_sk.ReliabilityDisplay.from_predictions(y, y_proba, classes=model.classes_)
    network = model[-1] if isinstance(model, Pipeline) else model
    if not isinstance(network, ImageClassifier):
        return
    if network.history_:
        yield "history", "Learning curves", fmnist_sk.HistoryDisplay.from_estimator(model)
        if "valid_class_acc_0" in network.history_[0]:
            yield "class_history", "Accuracy of each class during training", \
                fmnist_sk.ClassHistoryDisplay.from_estimator(model, class_names=names)
    yield "features", "Images as the network's last layer sees them: similar ones lie close together", \
        fmnist_sk.EmbeddingDisplay.from_estimator(model, X, y, max_images=n_embedded, class_names=None if names is None
                                                  else [name for name, label in zip(names, model.classes_, strict=True)
                                                        if label in y])
    first = [int(np.flatnonzero(y == label)[0]) for label in np.unique(y)][:8]
    for name, caption, draw in [
        ("grad_cam", "Where the evidence for each prediction lies, which may be in the empty background (Grad-CAM)",
         lambda: fmnist_sk.GradCAMDisplay.from_estimator(model, X[first], y[first], class_names=names)),
        ("feature_maps", "The output of each convolution and pooling layer for one image",
         lambda: fmnist_sk.FeatureMapsDisplay.from_estimator(model, X[-1:])),
        ("filters", "The filters of the first convolution", lambda: fmnist_sk.FiltersDisplay.from_estimator(model)),
    ]:
        try:
            yield name, caption, draw()
        except ValueError as error:              # such as a network without convolutions
            print(f"no picture of {name}: {error}")


def name_of(path):
    """A file's name; of train.py's model.safetensors, its folder's."""
    path = Path(path)
    return path.stem if path.stem != "model" else path.resolve().parent.name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_data_options(parser, is_sized=False)
    parser.add_argument("--part", choices=["test", "all"], help="images of a folder or CSV file: "
                        "those of the subfolder test, or else those that train.py holds out (test); or all "
                        "(default: test)")
    parser.add_argument("--device", default="auto", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--embed", type=int, default=2000, metavar="N", help="images in the plot of features "
                        "(default: 2000)")
    parser.add_argument("--dpi", type=int, default=110, help="resolution of the plots (default: 110)")
    add_output(parser, "output/evaluate/NAME")
    args = parser.parse_args()
    name = name_of(args.model)
    try:
        if args.embed < 3 or args.dpi < 10:
            raise ValueError(f"--embed must be at least 3 and --dpi at least 10, got {args.embed} and {args.dpi}")
        if args.part and not (args.folder or args.csv):
            raise ValueError(f"--part must be given with --folder or --csv: Fashion-MNIST's training images are none "
                             f"to evaluate on, got {args.part}")
        part = args.part or "test"
        reader, model = open_model(args.model, args.device)
        pictures = {}
        if args.folder:
            reader = reader if isinstance(reader, ImageReader) else reader_for(model)
            size = reader.size if isinstance(reader.size, int) else tuple(reader.size)
            pictures = {"size": size, "color": reader.color, "resize": reader.resize}
        data = load_data(part, data_home=args.data_home, folder=args.folder, csv=args.csv, **pictures)
        check_takes(model, args.model, data.images[0])
        X, y = data.images, labels_for(model, data, args.model)
        output = place_for(args, Path("output/evaluate") / name, WRITTEN)
        output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    written = []
    names = names_for(model, data, args.model)
    y_proba = model.predict_proba(X) if hasattr(model, "predict_proba") else None
    y_pred = model.predict(X) if y_proba is None else model.classes_[y_proba.argmax(1)]
    metrics = {"model": args.model, "data": args.csv or args.folder or "Fashion-MNIST", "part": part,
               "accuracy": accuracy_score(y, y_pred), "n_images": len(y)}
    order = {"labels": model.classes_, "target_names": names, "zero_division": 0}
    report = classification_report(y, y_pred, digits=3, **order)
    print(f"{model}\n\n{report}")
    pictures = {}
    for key, caption, display in pictures_of(model, X, y, y_pred, y_proba, names, data.where, args.embed):
        buffer = io.BytesIO()
        display.figure_.savefig(buffer, dpi=args.dpi, format="png")
        plt.close(display.figure_)
        written.append(output / f"{key}.png")
        written[-1].write_bytes(buffer.getvalue())
        pictures[key] = caption, base64.b64encode(buffer.getvalue()).decode()
        if key == "class_accuracy":
            metrics["interval"] = display.interval_
            metrics["accuracy_of_each_class"] = dict(zip(display.class_names, display.accuracy_.tolist(), strict=True))
        if key == "reliability":
            metrics["log_loss"] = log_loss(y, y_proba, labels=model.classes_)
            metrics["calibration_error"] = display.ece_
    print(f"accuracy: {metrics['accuracy']:.4f} (95 % interval {metrics['interval'][0]:.4f} to "
          f"{metrics['interval'][1]:.4f})")
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    mistakes = pd.DataFrame({"image": data.where, "label": y, "prediction": y_pred})
    if y_proba is not None:
        mistakes["probability"] = y_proba.max(1)
        mistakes = mistakes.sort_values("probability", ascending=False, kind="stable")
    mistakes[mistakes["label"] != mistakes["prediction"]].to_csv(output / "mistakes.csv", index=False)
    table = pd.DataFrame(classification_report(y, y_pred, output_dict=True, **order)).T
    page = Environment(autoescape=True).from_string(PAGE).render(
        title=f"Evaluation of {name}", data=args.csv or args.folder or "Fashion-MNIST's test set", metrics=metrics,
        model=str(model), pictures=pictures, version=fmnist_sk.__version__,
        table=table.drop("accuracy", errors="ignore").to_html(float_format="{:.3f}".format, border=0,
                                                              formatters={"support": "{:.0f}".format}))
    (output / "report.html").write_text(page, encoding="utf-8")
    print("\n".join(f"wrote {path}" for path in [*written, *(output / name for name in WRITTEN)]))


if __name__ == "__main__":
    main()
