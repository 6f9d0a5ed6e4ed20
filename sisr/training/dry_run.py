"""Builds the networks of a plan and passes an input through them: a process of its own, started by `config.preflight`.

On torch's meta device, where tensors have shapes and no values, this takes milliseconds at any size. A mechanism whose
code needs values is built on the CPU instead, alone.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor

import models
from models.attention._errors import BrokenCodeError, sentence
from sisr.config.comparison import network_spec
from sisr.config.preflight import MARK
from sisr.config.run import Run
from sisr.training import smoke_test
from sisr.utils.errors import SisrError, UsageError


def build(run: Run) -> None:
    """Build the network of a run, and pass a batch of one patch through it, with the auxiliary loss if the run has it.

    Raises UsageError with one sentence where a setting does not fit, or where the code of the attention fails.
    """
    network, patch = run.network, run.training.patch
    options: dict[str, Any] = {**network.options(), "initialisation": "pytorch"}
    try:
        with torch.device("meta"):
            bare = models.create(network.name, scale=network.scale, **{**options, "attention": None})
            bare(torch.empty(1, 3, patch, patch))
        if network.attention is None:
            return
        try:
            _attend(run, "meta")
        except Exception:  # values are needed, or something is wrong
            _attend(run, "cpu")
    except BrokenCodeError as error:
        raise UsageError(_ended(str(error))) from error
    except (Exception, SystemExit) as error:
        name = network.attention or network.name
        if isinstance(error, ValueError) and ":" not in name:
            raise UsageError(_ended(f"{name} at a patch of {patch}x{patch}: {error}")) from error
        raise UsageError(_ended(f"{name} fails at a patch of {patch}x{patch}: {sentence(error)}")) from error


def _attend(run: Run, device: str) -> None:
    """Build the attention of a run on a device and pass a patch's features through it."""
    network, patch = run.network, run.training.patch
    assert network.attention is not None
    with torch.device(device):
        module = models.attention.create(network.attention, network.channels, **network.attention_options)
        module = module.to(device).train()
        models.set_auxiliary_loss(module, run.training.contrastive_weight > 0)
        x = torch.zeros(1, network.channels, patch, patch).normal_()
        out = module(x)
        if not isinstance(out, Tensor) or out.shape != x.shape:
            got = f"the shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"the type {type(out).__name__}"
            raise ValueError(f"its output has {got} for an input of {tuple(x.shape)}")
        models.auxiliary_loss(module)


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
