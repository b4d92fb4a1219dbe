"""What train.py trains: from its options to a classifier, and to config.json and back."""
import contextlib
import copy
import json

import numpy as np
import sklearn
import torch
from _train_options import LARGEST, LOSS_TYPES, MODELS, OPTIONS, SYSTEMS
from _values import CLASSES, as_json, from_json
from sklearn.base import BaseEstimator, clone
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

import fmnist_sk
from fmnist_sk import Preset
from fmnist_sk.recipes import recipe
from fmnist_sk.reference import without_old_parts

AUGMENT = {f"report {i}": f"report_{i}" for i in (1, 2, 3)}          # the preset that --augment is without a value
NOT_WRITTEN = {"module", "random_state", "checkpoint", "checkpoint_every", "callbacks", "verbose"}
LARGEST_IMAGE = 2**20       # values
DATA = {"n_train": None, "data_home": None, "folder": None, "csv": None, "size": 28, "color": "gray"}
SOURCES = {"folder", "csv"}         # of which one can be given
VERSIONS = {"fmnist_sk": fmnist_sk.__version__, "torch": torch.__version__, "scikit-learn": sklearn.__version__}
DEFAULTS = {"model": "ResNetClassifier", "seed": 0, "data": DATA, "versions": VERSIONS}


def params_of(classifier):
    """The parameters that config.json holds."""
    names = {*BaseEstimator.get_params(classifier, deep=False), *classifier._prefixed_params()} - NOT_WRITTEN
    return {name: as_json(name, value) for name, value in sorted(classifier.get_params().items()) if name in names}


def reported(config):
    """What the model's report says, a line for each of its figures, and which of them are of these settings."""
    system, data = SYSTEMS.get(config["model"]), config["data"]
    if system is None or any(data[name] is not None for name in SOURCES):       # whose figures are of other images
        return []
    all_images = data | {"data_home": None} == DATA

    def is_this(setting):
        params = params_of(fmnist_sk.reference_system(config["model"], setting))
        return all_images and params | {"device": None} == config["params"] | {"device": None}

    return [f"  {system.source}, {name}: {value} %{', these settings' if is_this(name) else ''}"
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


def read(path):
    """The content of a run's config.json, with the objects that its params name."""
    if not path.is_file():
        raise FileNotFoundError(f"--config must name a config.json, but there is none at {str(path)!r}.")
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("model") not in MODELS or not isinstance(
            content.get("params"), dict):
        raise ValueError(f"{path} is not a config.json of this script, or names an unknown model.")
    content = DEFAULTS | content
    data = content["data"]
    if not isinstance(data, dict) or not {"n_train", "data_home"} <= data.keys() <= DATA.keys():
        raise ValueError(f"{path}: data must hold n_train and data_home, got {data!r}.")
    if type(content["seed"]) is not int:
        raise ValueError(f"{path}: seed must be a whole number, got {content['seed']!r}.")
    try:
        content["params"] = {name: from_json(value) for name, value in content["params"].items()}
    except RecursionError as error:
        raise ValueError(f"{path}: params must not be nested so deeply.") from error
    if content["versions"] != VERSIONS:
        print(f"{path} was written with {content['versions']}, but this is {VERSIONS}: results may differ.")
    return content


def base(args, config, system, kind):
    """The parameters before the options that change single ones."""
    known = system.settings if system else {}
    if args.setting is not None and args.setting not in known:
        others = ", ".join(name for name, other in SYSTEMS.items() if other.settings)
        raise ValueError(f"--setting must be one of {list(known)} for {config['model']}, got {args.setting!r}" if known
                         else f"--setting is for the reference systems with settings ({others}), got --setting "
                         f"{args.setting!r} for {config['model']}")
    if args.config and args.setting is None:
        params = config["params"]
    else:                                       # a setting is the whole training, as is a config
        params = {"validation_fraction": 0.1, **(system.params if system else {})}
        params |= known[args.setting] if args.setting is not None else {}
    if args.recipe:
        changes = recipe(args.recipe, vars(args).get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
        if unknown := changes.keys() - kind().get_params().keys():
            raise ValueError(f"--recipe {args.recipe} is for models with {', '.join(sorted(unknown))}, such as "
                             f"ResNetClassifier, got {config['model']}")
        params = {**params, **changes}
    return params


def changes(args):
    """The parameters that single options set."""
    given = {name: value for name, value in vars(args).items() if name in {*OPTIONS, "augment", "criterion"}}
    given |= LOSS_TYPES.get(args.loss_type, {})
    for name, value in args.settings:
        if given.setdefault(name, value) != value:
            raise ValueError(f"{name} is given twice, as {given[name]!r:.99} and with --set as {value!r:.99}: "
                             "give one of them")
    return given


def check(classifier, allow_large):
    """Raise ValueError for what cannot be built, or not in the memory that `--allow-large` is there to spare."""
    shape = classifier.get_params().get("module__image_shape") or vars(classifier).get("image_shape")
    if shape is not None and not allow_large and np.prod(shape, dtype=float) > LARGEST_IMAGE:
        raise ValueError(f"images must have at most {LARGEST_IMAGE:,} values, or --allow-large, got {shape!r:.99}")
    with contextlib.nullcontext() if allow_large else small_networks():
        clone(classifier).initialize()


def configure(args):
    """The classifier that the options ask for, and the content of config.json."""
    if args.config and args.model:
        raise ValueError("--model cannot be given beside --config, which names the model.")
    config = read(args.config) if args.config else DEFAULTS | {"model": args.model or DEFAULTS["model"]}
    system = SYSTEMS.get(config["model"])
    kind = system.classifier if system else CLASSES[config["model"]]
    params = base(args, config, system, kind)
    given = changes(args)
    params = copy.deepcopy(without_old_parts(params, given)) | given        # the systems' own stay as they are
    if isinstance(params.get("augment"), bool):
        params["augment"] = Preset(AUGMENT.get(system and system.source, "fashion")) if params["augment"] else None
    seed = config["seed"] if args.seed is None else args.seed
    classifier = kind().set_params(**{"verbose": 1, **params, "random_state": seed})
    check(classifier, args.allow_large)                                     # before the data are read
    data = {name: vars(args)[name] for name in DATA if vars(args)[name] is not None}
    replaced = SOURCES if SOURCES & data.keys() else set()
    data = DATA | {name: value for name, value in config["data"].items() if name not in replaced} | data
    return classifier, {**config, "params": params_of(classifier), "seed": seed, "data": data, "versions": VERSIONS}
