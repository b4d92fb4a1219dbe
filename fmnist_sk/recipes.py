"""Settings of a whole training, by name."""
from __future__ import annotations

RECIPES: dict[str, dict] = {
    "default": {},
    "fashion": {"augment": "fashion", "max_epochs": 18},
}


def recipe(name: str) -> dict:
    """Parameters for a classifier: ``ResNetClassifier(**recipe("fashion"))``.

    "default" is what the classifier has anyway and safe for any small images; "fashion" is for garments: it mirrors,
    and trains longer. Both were chosen on validation splits of Fashion-MNIST for `ResNetClassifier`
    (``examples/benchmarks/choose_recipe.py`` and ``training_craft.py --finalists``).

    Raises ValueError for an unknown name.

    >>> from fmnist_sk import ResNetClassifier, recipe
    >>> ResNetClassifier(**recipe("fashion"), random_state=0).augment
    'fashion'
    """
    if not isinstance(name, str) or name not in RECIPES:
        raise ValueError(f"name must be one of {sorted(RECIPES)}, got name={name!r}.")
    return dict(RECIPES[name])
