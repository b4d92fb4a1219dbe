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
import argparse
import ast
import contextlib
import copy
import hashlib
import inspect
import json
import re
import shutil
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import torch
from _data import add_data_options, load_data
from _output import check_free, numbered
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

import fmnist_sk
from fmnist_sk import ClassHistoryDisplay, HistoryDisplay, Preset, ScheduleDisplay
from fmnist_sk.losses import LOSSES
from fmnist_sk.recipes import RECIPES, recipe
from fmnist_sk.reference import without_old_parts

try:
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("This script draws pictures with matplotlib: pip install 'fmnist_sk[plot,save]'") from None

CLASSES = {name: getattr(fmnist_sk, name) for name in fmnist_sk.__all__ if isinstance(getattr(fmnist_sk, name), type)}
SYSTEMS = fmnist_sk.reference_systems()
MODELS = [*fmnist_sk.networks.__all__, *SYSTEMS]
AUGMENT = {f"report {i}": f"report_{i}" for i in (1, 2, 3)}          # the preset that --augment is without a value
WRITTEN = ("config.json", "results.json", "history.csv", "curves.png", "class_history.png", "schedule.png",
           "model.safetensors")
NOT_WRITTEN = {"module", "random_state", "checkpoint", "checkpoint_every", "callbacks", "verbose"}
LARGEST = 100_000_000       # parameters: those and what training needs for each fill 2 GB
LARGEST_IMAGE = 2**20       # values
LONGEST_TEXT = 10_000       # characters of a literal of Python
WORDS = {"none": None, "true": True, "false": False}
DATA = {"n_train": None, "data_home": None, "folder": None, "csv": None, "size": 28, "color": "gray"}
SOURCES = {"folder", "csv"}         # of which one can be given
VERSIONS = {"fmnist_sk": fmnist_sk.__version__, "torch": torch.__version__, "scikit-learn": sklearn.__version__}
LOSS_TYPES = {"softmax": "cross_entropy", "sigmoid": "sigmoid"}         # of report 1
ALIASES = {         # our options: report 1's own, and the parameter's name in Python
    "--batch-size": ["--batch_size"], "--weight-decay": ["--rs"], "--epochs": ["--num_epochs", "--max-epochs"]}
OPTIONS = {         # parameter: option, meaning
    "batch_size": ("--batch-size", "images in a step"),
    "lr": ("--lr", "learning rate"),
    "weight_decay": ("--weight-decay", "weight decay"),
    "max_epochs": ("--epochs", "passes over the training images"),
    "schedule": ("--schedule", "learning rate over the run: a name such as one_cycle, or an object"),
    "optimizer": ("--optimizer", "sgd, adam, adamw, rmsprop or asgd"),
    "label_smoothing": ("--label-smoothing", "share of every target that is spread over all classes"),
    "ema": ("--ema", "use a moving average of the weights that keeps this share of itself in every step"),
    "swa": ("--swa", "use the mean of the weights after each epoch, from this share of the run on"),
    "sam_rho": ("--sam-rho", "radius of sharpness-aware minimisation"),
    "tta": ("--tta", "test-time augmentation: mirror, shift or \"('mirror', 'shift')\""),
    "device": ("--device", "cpu or cuda (default: cuda if there is one)"),
    "precision": ("--precision", "auto, bf16 or fp32"),
    "validation_fraction": ("--validation-fraction", "share or number of training images to hold out, or none "
                                                     "(default: the model's own if it has one, else 0.1)"),
}


# ---------------------------------------------------------------------- values and their texts

def evaluate(text):
    """The value that a text on the command line stands for: a word, a number, JSON, or a literal of Python."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        for read in (json.loads, literal):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = read(text)
                break
        else:
            if set(text) & set("()[]{}'\",="):
                raise ValueError("it is neither JSON nor a Python literal")
            return text
        return from_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text[:200]!r} cannot be used: {error!s:.300}; an object is written as "
                                         '{"RandomCrop": {"padding": 2}}') from error


def literal(text):
    """A literal of Python. Raises ValueError for long ones, which take 500 times as much memory."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a literal may have at most {LONGEST_TEXT:,} characters")
    return ast.literal_eval(text)


def from_json(value):
    """What a value in config.json stands for: {"RandomCrop": {"padding": 2}} for an object, "(1, 2)" for a tuple.

    Nothing but CLASSES is ever called.
    """
    if isinstance(value, str) and value.startswith(("(", "[", "{")):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return literal(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(from_json, value))
    if isinstance(value, dict):
        value = {name: from_json(item) for name, item in value.items()}
        match list(value.items()):
            case [(str() as name, dict() as params)] if name in CLASSES:
                return CLASSES[name](**params)
    if value is not None and not isinstance(value, (str, int, float, list, tuple, dict)):
        raise ValueError(f"{value!r} is not a number, string, list, tuple or dict")
    return value


def as_json(name, value):
    """A value as config.json holds it. Unlike repr it never leaves anything out."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (BaseEstimator, torch.nn.Module)) and type(value).__name__ in CLASSES:
        params = {key: getattr(value, key) for key, parameter in inspect.signature(type(value)).parameters.items()
                  if not (key == "module" and parameter.default is getattr(value, key))}        # the class says it
        return {type(value).__name__: {key: as_json(key, param) for key, param in params.items()}}
    if isinstance(value, list):
        return [as_json(name, item) for item in value]
    text = value if isinstance(value, str) else repr(value)
    if from_json(text) == value and type(from_json(text)) is type(value):
        return text
    raise ValueError(f"{name}={value!r} cannot be written to config.json.")


def setting(text):
    """The pair that NAME=VALUE stands for."""
    name, equals, value = text.partition("=")
    if not equals or name in ("random_state", "checkpoint") or name.startswith("callbacks"):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with a parameter that can be set here")
    return name, evaluate(value)


def boolean(text):
    """What report 1's --augment_data says: True for --augment without a value, None for none."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be True or False, got {text!r:.200}")
    return True if text.lower() == "true" else None


# ---------------------------------------------------------------------- settings

class Store(argparse.Action):
    """Stores a value, and by which of its options it was given; two of them must not contradict each other."""

    def __call__(self, parser, namespace, values, option_string=None):
        before = namespace.typed.get(self.dest, option_string)
        if before != option_string and (old := getattr(namespace, self.dest)) != values:
            parser.error(f"{before} and {option_string} contradict each other: give one of them, got {old!r:.99} and "
                         f"{values!r:.99}")
        namespace.typed[self.dest] = option_string
        setattr(namespace, self.dest, values)


def with_options(message, typed):
    """A message about parameters, with the options that set them if these have other names."""
    named = [f"{option} sets {name}" for name, option in typed.items() if re.search(rf"\b{name}\b", message)
             and option.strip("-").replace("-", "_") != name]
    return f"{message} ({', '.join(named)})" if named else message


def model(name):
    """The name of a model, also as report 1 spells it."""
    return name.lower() if name in (f"CNN_{i}" for i in range(1, 6)) else name


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="%(prog)s [--model NAME] [options], see --help", allow_abbrev=False)
    absent = argparse.SUPPRESS

    def add(option, group=parser, **settings):
        group.add_argument(option, *ALIASES.get(option, []), **settings)

    add("--model", type=model, choices=MODELS, metavar="NAME", help=f"{', '.join(MODELS)} (default: ResNetClassifier)")
    add("--config", type=Path, metavar="PATH", help="take all settings from the config.json of a run; other options "
        "override them, --setting all but the data and the seed")
    add("--setting", metavar="TEXT", help="named setting of a reference system, such as \"sigmoid, augmented\": how "
        "its report trained it for one of its figures, or another setting that the report tried")
    add("--recipe", choices=RECIPES, help="named settings of a whole training, which override the model's own")
    for parameter, (option, meaning) in OPTIONS.items():
        add(option, action=Store, dest=parameter, type=evaluate, default=absent, metavar="VALUE", help=meaning)
    add("--augment", action=Store, nargs="?", type=evaluate, const=True, default=absent, metavar="VALUE",
        help="random changes of training images: a preset's name, an object or none; without VALUE the preset of the "
        "model's report if that is report 1, 2 or 3, else fashion")
    add("--augment_data", action=Store, dest="augment", type=boolean, default=absent, metavar="BOOLEAN",
        help="report 1's name: True is --augment without a value, False --augment none")
    loss = parser.add_mutually_exclusive_group()
    add("--loss", loss, dest="criterion", choices=LOSSES, default=absent, help="the loss; sigmoid is the sum over the "
        "classes of binary cross-entropies, for models of report 1 their mean")
    add("--loss_type", loss, choices=LOSS_TYPES, help="report 1's two losses: softmax is cross_entropy, sigmoid the "
        "mean over the classes")
    add("--set", dest="settings", action="append", type=setting, default=[], metavar="NAME=VALUE", help="any other "
        "parameter, such as width=16, criterion__gamma=1 or, of a preset, augment__p=0.5; may be repeated")
    add("--seed", type=int, help="random seed (default: 0)")
    add("--n-train", type=int, metavar="N", help="use N training images, stratified by class")
    add_data_options(parser)
    parser.set_defaults(size=None, color=None, typed={})
    add("--tensorboard", action="store_true", help="also log to OUTPUT/tensorboard "
        "(pip install 'fmnist_sk[tensorboard]')")
    add("--output", type=Path, metavar="PATH", help="folder to write to (default: output/train/MODEL)")
    add("--allow-large", action="store_true", help=f"allow networks of more than {LARGEST:,} parameters")
    add("--overwrite", action="store_true", help="replace what another run has written to the output folder")
    return parser, parser.parse_args(argv)


def params_of(classifier):
    """The parameters that config.json holds."""
    names = {*BaseEstimator.get_params(classifier, deep=False), *classifier._prefixed_params()} - NOT_WRITTEN
    return {name: as_json(name, value) for name, value in sorted(classifier.get_params().items()) if name in names}


def reported(config):
    """What the model's report says, a line for each of its figures, and which of them are of these settings."""
    system = SYSTEMS.get(config["model"])
    if system is None:
        return []
    params = config["params"] | {"device": None}
    return [f"  {system.source}, {name}: {value} %" + ", these settings" * (
                params == params_of(fmnist_sk.reference_system(config["model"], name)) | {"device": None})
            for name, value in system.reported.items()]


@contextlib.contextmanager
def small_networks():
    """Raise ValueError within this context for networks with which a config.json could fill the memory."""
    n = 0

    def count(module, name, parameter):
        nonlocal n
        n += 0 if parameter is None else parameter.numel()
        if n > LARGEST:
            raise ValueError(f"the network has more than {LARGEST:,} parameters: --allow-large trains it anyway")

    hooks = [register(count) for register in (register_module_parameter_registration_hook,
                                              register_module_buffer_registration_hook)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def configure(args):
    """The classifier that the options ask for, and the content of config.json."""
    config = {"model": args.model or "ResNetClassifier", "seed": 0, "data": DATA, "versions": VERSIONS}
    if args.config:
        if args.model:
            raise ValueError("--model cannot be given beside --config, which names the model.")
        if not args.config.is_file():
            raise FileNotFoundError(f"--config must name a config.json, but there is none at {str(args.config)!r}.")
        try:
            content = json.loads(args.config.read_text())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{args.config} is not JSON: {error}") from error
        if not isinstance(content, dict) or content.get("model") not in MODELS or not isinstance(
                content.get("params"), dict):
            raise ValueError(f"{args.config} is not a config.json of this script, or names an unknown model.")
        config |= content
        data = config["data"]
        if not isinstance(data, dict) or not {"n_train", "data_home"} <= data.keys() <= DATA.keys():
            raise ValueError(f"{args.config}: data must hold n_train and data_home, got {data!r}.")
        if type(config["seed"]) is not int:
            raise ValueError(f"{args.config}: seed must be a whole number, got {config['seed']!r}.")
        try:
            params = {name: from_json(value) for name, value in config["params"].items()}
        except RecursionError as error:
            raise ValueError(f"{args.config}: params must not be nested so deeply.") from error
        if config["versions"] != VERSIONS:
            print(f"{args.config} was written with {config['versions']}, but this is {VERSIONS}: results may differ.")
    system = SYSTEMS.get(config["model"])
    kind = system.classifier if system else CLASSES[config["model"]]
    if args.setting is not None and (system is None or args.setting not in system.settings):
        raise ValueError(f"--setting must be one of {list(system.settings)} for {config['model']}, got "
                         f"{args.setting!r}" if system else f"--setting is for the reference systems "
                         f"({', '.join(SYSTEMS)}), got --setting {args.setting!r} for {config['model']}")
    if args.setting is not None or not args.config:         # a setting is the whole training, as is a config
        params = {"validation_fraction": 0.1, **(system.params if system else {})}
        params |= system.settings[args.setting] if args.setting is not None else {}
    device = vars(args).get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    if args.recipe:
        changes = recipe(args.recipe, device)
        if unknown := changes.keys() - kind().get_params().keys():
            raise ValueError(f"--recipe {args.recipe} is for models with {', '.join(sorted(unknown))}, such as "
                             f"ResNetClassifier, got {config['model']}")
        params |= changes
    given = {name: value for name, value in vars(args).items() if name in {*OPTIONS, "augment", "criterion"}}
    given |= {"criterion": LOSS_TYPES[args.loss_type]} if args.loss_type else {}
    for name, value in args.settings:
        if given.setdefault(name, value) != value:
            raise ValueError(f"{name} is given twice, as {given[name]!r:.99} and with --set as {value!r:.99}: "
                             "give one of them")
    if given.get("criterion") == "sigmoid" != params.get("criterion") and (
            args.loss_type or (system and system.source == "report 1")):
        given = {"criterion__over_classes": "mean"} | given             # as the report has it
    params = copy.deepcopy(without_old_parts(params, given)) | given        # the systems' own stay as they are
    if isinstance(params.get("augment"), bool):
        name = AUGMENT.get(system and system.source, "fashion")
        params["augment"] = Preset(name) if params["augment"] else None
    classifier = kind().set_params(**params)
    config["params"] = params_of(classifier)
    given = {name: vars(args)[name] for name in DATA if vars(args)[name] is not None}
    replaced = SOURCES if SOURCES & given.keys() else set()
    config["data"] = DATA | {name: value for name, value in config["data"].items() if name not in replaced} | given
    config["seed"] = config["seed"] if args.seed is None else args.seed
    classifier.set_params(random_state=config["seed"], verbose=dict(args.settings).get("verbose", 1))
    shape = classifier.get_params().get("module__image_shape") or vars(classifier).get("image_shape")
    if shape is not None and not args.allow_large and np.prod(shape, dtype=float) > LARGEST_IMAGE:
        raise ValueError(f"images must have at most {LARGEST_IMAGE:,} values, or --allow-large, got {shape!r:.99}")
    with contextlib.nullcontext() if args.allow_large else small_networks():
        clone(classifier).initialize()          # what cannot be built fails now, before the data are read
    return classifier, {**config, "versions": VERSIONS}


# ---------------------------------------------------------------------- the run

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
    kept = history[(best_epoch or len(history)) - 1]
    by_class = {name: np.mean(y_pred[y == label] == label)
                for label, name in zip(test.labels, test.names, strict=True)}
    print("\nrecall is the accuracy of a class\n" + classification_report(
        y, y_pred, labels=test.labels, target_names=test.names, digits=3, zero_division=0))
    if best_epoch and classifier.keep_best:
        print(f"weights: those of epoch {best_epoch}, the best on the validation images")
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
    parser, args = parse(argv)
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
    except (OSError, ValueError, TypeError, argparse.ArgumentTypeError) as error:
        parser.exit(2, f"{parser.prog}: error: {with_options(str(error), args.typed)}\n")
    shutil.rmtree(checkpoint, ignore_errors=True)
    with contextlib.suppress(OSError):              # there are those of other settings
        checkpoint.parent.rmdir()
    print("".join(f"{line}\n" for line in reported(config)))
    print("\n".join(f"wrote {path}" for path in sorted(output.iterdir())))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)         # every epoch's line at once, in a file or a pipe too
    main()
