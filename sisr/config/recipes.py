"""Values of the paper and of its released code, where the two differ.

A preset selects one of them (`recipe: paper` or `recipe: released`) and can override single values. All values have a
source; values that the paper does not state are taken from the released code and marked. Durations are in steps: an
epoch is 1,000 steps (released code; not stated in the paper).
"""

from typing import Any

from sisr.config.declared import mechanisms
from sisr.utils.errors import UsageError

_EPOCH = 1_000

# settings of `sisr.config.run.Training`
TRAINING: dict[str, dict[str, Any]] = {
    "paper": {
        "steps": 1_000 * _EPOCH,
        "batch": 16,
        "patch": {2: 46, 3: 36, 4: 28},  # x3: not in the paper, between the two
        "learning_rate": 1e-4,
        "beta1": 0.9,
        "beta2": 0.99,
        "epsilon": 1e-8,  # not known: released code
        "halve_every": 200 * _EPOCH,
        "contrastive_weight": 1e-3,  # not known: released code
        "contrastive_start": 150 * _EPOCH,
        "redraw_every": _EPOCH,
    },
    "released": {
        "steps": 1_000 * _EPOCH,
        "batch": 16,
        "patch": {2: 48, 3: 48, 4: 48},
        "learning_rate": 1e-4,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "halve_every": 200 * _EPOCH,
        "contrastive_weight": 1e-3,
        "contrastive_start": 101 * _EPOCH,
        "redraw_every": 641,
    },
}


def attention_options(recipe: str, attention: str) -> dict[str, Any]:
    """Options that a registered mechanism declares for a recipe; empty for any other mechanism."""
    if recipe not in TRAINING:
        raise UsageError(f"unknown recipe {recipe!r}; there are {', '.join(TRAINING)}.")
    known = mechanisms().get(attention)
    return dict(known.get("recipes", {}).get(recipe, {})) if known else {}
