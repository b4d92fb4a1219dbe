"""The options of train.py, among them report 1's own names."""
import argparse
import re
from pathlib import Path

from _data import add_data_options
from _values import evaluate

import fmnist_sk
from fmnist_sk.losses import LOSSES
from fmnist_sk.recipes import RECIPES

SYSTEMS = fmnist_sk.reference_systems()
MODELS = [*fmnist_sk.networks.__all__, *SYSTEMS]
LARGEST = 100_000_000       # parameters: those and what training needs for each fill 2 GB
LOSS_TYPES = {"softmax": {"criterion": "cross_entropy"},                # of report 1
              "sigmoid": {"criterion": "sigmoid", "criterion__over_classes": "mean"}}
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


def parse(argv, description):
    """The parser, which `--help` lets say what the script does, and the options that were given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="%(prog)s [--model NAME] [options], see --help", allow_abbrev=False)
    absent = argparse.SUPPRESS

    def add(option, group=parser, **settings):
        group.add_argument(option, *ALIASES.get(option, []), **settings)

    add("--model", type=model, choices=MODELS, metavar="NAME", help=f"{', '.join(MODELS)} (default: ResNetClassifier)")
    add("--config", type=Path, metavar="PATH", help="take all settings from the config.json of a run; other options "
        "override them, --setting all but the data and the seed")
    add("--setting", metavar="TEXT", help="named setting of a reference system, such as \"sigmoid, augmented\": how "
        "its report trained it for one of its figures, another setting that the report tried, another reading of the "
        "report, or \"our recipe\"")
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
        "classes of binary cross-entropies, unless the setting has their mean")
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
