"""Builds the networks of a plan and passes an input through their attention: a process of its own, started by
`sisr.config.preflight`.

Networks are built on torch's meta device, where tensors have shapes and no values: in milliseconds, at any size. Their
attention is built on the CPU, alone, since code may depend on values, and gets the features of one patch.
"""

import json
import sys
from typing import Any

import torch

import models
from models.attention._errors import BrokenCodeError, sentence
from sisr.config.comparison import network_spec
from sisr.config.mechanisms import is_custom
from sisr.config.preflight import MARK
from sisr.config.run import Run
from sisr.training.shapes import same_shape
from sisr.utils.errors import SisrError, UsageError

LARGEST_PATCH = 64
"""Side of the largest patch that is passed through an attention: N² products take seconds at most."""


def build(run: Run) -> None:
    """Build the network of a run, and pass one patch through its attention, with the auxiliary loss if the run has it.

    Raises UsageError with one sentence where a setting does not fit, or where the code of the attention fails.
    """
    network, patch = run.network, run.training.patch
    options = network.options()
    options |= {name: value for name, value in (("initialisation", "pytorch"), ("attention", None)) if name in options}
    try:
        # code of one's own may not work on the meta device
        with torch.device("cpu" if is_custom(network.name) else "meta"):
            model: Any = models.create(network.name, scale=network.scale, **options)
        if network.attention is not None:
            _attend(run, getattr(getattr(model, "head", None), "out_channels", network.channels))
    except BrokenCodeError as error:
        raise UsageError(_ended(str(error))) from error
    except (Exception, SystemExit) as error:
        name, what = network.attention or network.name, sentence(error)
        if isinstance(error, ValueError) and ":" not in name:
            what = str(error)  # of this suite: a sentence already
        raise UsageError(_ended(f"with a patch of {patch}x{patch}, {name} fails: {what}")) from error


def _attend(run: Run, channels: int) -> None:
    """Build the attention of a run and pass a patch's features through it."""
    network, patch = run.network, run.training.patch
    module: Any = models.attention.create(str(network.attention), channels, **network.attention_options).train()
    if run.training.contrastive_weight > 0:
        if isinstance(module, models.attention.Attention):
            module.check_tokens(patch * patch)
        models.set_auxiliary_loss(module, ":" in str(network.attention))  # the loss of custom code is tried out
    if patch <= LARGEST_PATCH:
        with torch.no_grad():
            same_shape(module, x := torch.rand(1, channels, patch, patch), module(x))


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def main() -> None:
    """Read the tasks from standard input; a marked line of JSON for each stage, and for the first failure."""
    tasks = json.load(sys.stdin)
    for number, task in enumerate(tasks):
        run = Run.from_dict(task["run"])
        try:
            _report(stage="build", number=number)
            build(run)
            if task["train"]:
                from sisr.training import smoke_test  # here, as it imports much more

                _report(stage="train", number=number)
                smoke_test.run([network_spec(run)])
        except SisrError as error:
            _report(failed=str(error))
            return
    _report(stage="done", number=len(tasks))


def _report(**values: Any) -> None:
    print(f"\n{MARK}{json.dumps(values)}", flush=True)


if __name__ == "__main__":
    main()
