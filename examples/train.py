r"""Train any network with any settings, and write down everything about the run.

    python examples/train.py --model ResNetClassifier --recipe fashion --epochs 3
    python examples/train.py --model cnn_1 --setting "sigmoid, augmented" --lr 0.002

Writes to output/train/MODEL: config.json (all settings, before training), results.json, history.csv (a row per epoch),
curves.png, class_history.png, schedule.png and model.safetensors. `--config FOLDER/config.json` repeats a run, with
bit-identical results. A run that was killed, stopped with Ctrl-C or could not write its files resumes when the same
command is given again.

`--folder PICTURES --size 64 --color rgb` trains on your own pictures: their labels are the names of their folders, and
a fifth of them is held out for testing. `--csv FILE` trains on the images of a CSV file.

A VALUE is a number, a word, none, true, false, a tuple, or JSON. JSON may name objects of fmnist_sk, such as
--augment '[{"RandomCrop": {"padding": 2}}, {"MixUp": {"alpha": 0.4}}]'.

The option names of report 1 (see the guide's page on networks) work too: --model CNN_1 --batch_size 128 --lr 4e-3
--rs 1e-3 --num_epochs 10 --augment_data True --loss_type sigmoid.
"""
import contextlib
import hashlib
import json
import shutil
import sys
from argparse import ArgumentTypeError
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from _data import load_data
from _output import check_free, numbered
from _train_config import configure, reported
from _train_options import parse, with_options
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

import fmnist_sk
from fmnist_sk import ClassHistoryDisplay, HistoryDisplay, ScheduleDisplay

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This script draws pictures with matplotlib: pip install 'fmnist_sk[plot,save]'") from None

WRITTEN = ("config.json", "results.json", "history.csv", "curves.png", "class_history.png", "schedule.png",
           "model.safetensors")


class EpochScalars(Callback):
    """Writes the numbers of every epoch for TensorBoard, the accuracy of each class among them."""

    def __init__(self, folder, class_names):
        self.folder, self.class_names = folder, class_names

    def initialize(self):
        self.writer_ = open_tensorboard(self.folder)
        return self

    def on_epoch_end(self, net, **kwargs):
        for name, value in epoch_row(net.history[-1], self.class_names).items():
            self.writer_.add_scalar(name.replace(": ", "/"), value, net.history[-1, "epoch"])
        self.writer_.flush()


def open_tensorboard(folder):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SystemExit("--tensorboard needs the package tensorboard: pip install 'fmnist_sk[tensorboard]'") from None
    return SummaryWriter(folder)


def load(subset, n_train, seed, **source):
    """Training or test images, all or n_train of the former; pictures of a folder have names as labels."""
    data = load_data(subset, **source)
    if source["folder"] is not None:
        data = data._replace(labels=np.array(data.names))
    rows = np.arange(len(data.codes))
    if subset == "train" and n_train is not None and n_train != len(rows):
        try:
            rows, _ = train_test_split(rows, train_size=n_train, stratify=data.codes, random_state=seed)
        except ValueError as error:
            raise ValueError(f"--n-train {n_train}: {error}") from error
    return data.take(rows)


def epoch_row(row, names):
    """The numbers of an epoch, with the accuracy of each class by its name."""
    columns = ("epoch", "train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "dur")
    classes = {f"valid_acc: {name}": row[f"valid_class_acc_{code}"] for code, name in enumerate(names)
               if f"valid_class_acc_{code}" in row}
    return {**{name: row[name] for name in columns if name in row}, **classes}


def draw(classifier, n_samples, class_names, output):
    displays = {"curves": HistoryDisplay.from_estimator(classifier),
                "schedule": ScheduleDisplay.from_estimator(classifier, n_samples, rows=classifier.history_)}
    if hasattr(classifier, "best_epoch_"):          # there were validation images
        displays["class_history"] = ClassHistoryDisplay.from_estimator(classifier, class_names=class_names)
    for name, display in displays.items():
        display.figure_.savefig(output / f"{name}.png", dpi=120)
        plt.close(display.figure_)


def evaluation(classifier, test):
    """Print how the classifier does on the test images, and return the content of results.json."""
    y, y_pred = test.target, classifier.predict(test.images)
    history, best_epoch = classifier.history_, getattr(classifier, "best_epoch_", None)
    of_best = best_epoch is not None and classifier.keep_best
    kept = history[best_epoch - 1 if of_best else -1]
    by_class = {name: np.mean(y_pred[y == label] == label)
                for label, name in zip(test.labels, test.names, strict=True)}
    print("\nrecall is the accuracy of a class\n" + classification_report(
        y, y_pred, labels=test.labels, target_names=test.names, digits=3, zero_division=0))
    if of_best:
        print(f"weights: those of epoch {best_epoch}, the best on the validation images")
    if "valid_acc" in kept:
        print(f"validation accuracy: {kept['valid_acc']:.4f}")
    print(f"test accuracy: {np.mean(y_pred == y):.4f}")
    return {"test_accuracy": np.mean(y_pred == y), "test_accuracy_of_each_class": by_class,
            "validation_accuracy": kept.get("valid_acc"), "training_accuracy": kept["train_acc"],
            "best_epoch": best_epoch, "epochs": len(history), "seconds": sum(history[:, "dur"]),
            "parameters": sum(parameter.numel() for parameter in classifier.module_.network.parameters())}


def write(classifier, test, n_samples, output):
    """The files of a run whose fit is complete."""
    run = {"callbacks": None, "checkpoint": None, "keep_checkpoint": False}
    classifier.set_params(**run).initialize_callbacks()                                # they belong to this run alone
    fmnist_sk.save(classifier, output / "model.safetensors")
    rows = [epoch_row(row, test.names) for row in classifier.history_]
    pd.DataFrame(rows).to_csv(output / "history.csv", index=False)
    draw(classifier, n_samples, test.class_names, output)
    results = evaluation(classifier, test)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def make_folder(output, config, overwrite):
    """A folder for the files of a run, without those of another, which only `overwrite` removes."""
    output.mkdir(parents=True, exist_ok=True)
    check_free([output / name for name in WRITTEN], overwrite=True)
    found = [output / name for name in WRITTEN if (output / name).is_file()]
    before = output / "config.json"
    if not found or (before.exists() and before.read_text() == config):
        return
    if not overwrite and found != [before]:                     # which is of a run that wrote no results
        raise ValueError(f"{output} holds the results of a run with other settings: give another --output, or "
                         "--overwrite to replace them")
    for path in found:
        path.unlink()


def main(argv=None):
    parser, args = parse(argv, __doc__)
    try:
        classifier, config = configure(args)
        output = args.output or Path("output/train") / config["model"]
        train, test = (load(part, **config["data"], seed=config["seed"]) for part in ("train", "test"))
        config["digest"] = hashlib.sha256(train.images.tobytes() + str(train.target.tolist()).encode()).hexdigest()[:16]
        text = json.dumps(config, indent=1) + "\n"
        make_folder(output, text, args.overwrite)
        (output / "config.json").write_text(text)
        print(f"{config['model']}, {len(train.images)} training images: {classifier}")
        checkpoint = output / "checkpoint" / hashlib.sha256(text.encode()).hexdigest()[:8]      # of these settings
        classifier.set_params(checkpoint=checkpoint, keep_checkpoint=True)
        if args.tensorboard:
            classifier.set_params(callbacks=[EpochScalars(output / "tensorboard", train.names)])
        classifier.fit(train.images, train.target)
        if (output / "config.json").read_text() != text:                # of another run that began meanwhile
            output = next(place for place in (numbered(output, i) for i in count(2)) if not place.exists())
            output.mkdir(parents=True)
            (output / "config.json").write_text(text)
        write(classifier, test, len(train.images), output)
    except KeyboardInterrupt:
        print("\nStopped. The same command continues where this run stopped.")
        raise SystemExit(130) from None
    except (OSError, ValueError, TypeError, ArgumentTypeError) as error:
        parser.exit(2, f"{parser.prog}: error: {with_options(str(error), args.typed)}\n")
    shutil.rmtree(checkpoint, ignore_errors=True)
    with contextlib.suppress(OSError):              # there are those of other settings
        checkpoint.parent.rmdir()
    print("".join(f"{line}\n" for line in reported(config)))
    print("\n".join(f"wrote {path}" for path in sorted(output.iterdir())))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)         # every epoch's line at once, in a file or a pipe too
    main()
