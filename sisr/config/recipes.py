"""What the paper says, and what its released code does, where the two differ.

A preset names one of them (`recipe: paper` or `recipe: released`) and may override single values. Only values with a
source stand here; what the paper leaves open is taken from the released code and marked so. Counted in steps: an epoch
is 1,000 steps (released code; the paper does not say).
"""

from typing import Any

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

# relevant and irrelevant features: shares of N in the paper (n1 = 2 %, from n2 = 8 %), fixed ranks in the released code
_RANKS: dict[str, dict[str, Any]] = {
    "paper": {"relevant": [0.0, 0.02], "irrelevant": [0.08, 0.10]},
    "released": {"relevant": [0, 15], "irrelevant": [50, 65]},
}
# the small constant that the released code adds to every random feature; the paper has none
_EPSILON = {"paper": 0.0, "released": 1e-4}
# "all kernels 3x3" in the paper, 1x1 embeddings in the released code
_EMBEDDING_KERNEL = {"paper": 3, "released": 1}


def attention_options(recipe: str, attention: str) -> dict[str, Any]:
    """Options of one of the paper's mechanisms under a recipe; empty for any other mechanism."""
    if recipe not in TRAINING:
        raise UsageError(f"there is no recipe {recipe!r}; there are {', '.join(TRAINING)}.")
    embedding: dict[str, Any] = {"embedding_kernel": _EMBEDDING_KERNEL[recipe]}
    features = {"m": 128, "orthogonal": True, "epsilon": _EPSILON[recipe], **embedding}
    match attention:
        case "enla":
            return {"k": 1.0, **features}
        case "enlca":
            return {"k": 6.0, **features, "margin": 1.0, **_RANKS[recipe]}
        case "nla":
            return embedding
        case "nlsa":
            return {"rounds": 4, "chunk": 144}
    return {}
