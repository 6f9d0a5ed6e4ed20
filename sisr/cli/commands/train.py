"""Verb `train`."""

import argparse
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from sisr.config.run import Network, Run, Training, flag
from sisr.utils import gpus
from sisr.utils.errors import UsageError

HELP = "train one network once: one scale, one seed, one recipe"
EXAMPLE = (
    "python -m sisr train --network enlcn --scale 4 --blocks 4 --channels 32 --attention enlca --slots 0 4 \\\n"
    "    --steps 500 --train photographs --output my_run"
)


def configure(parser: argparse.ArgumentParser) -> None:
    for part in (Network, Training):
        group = parser.add_argument_group(part.__name__.lower(), part.__doc__)
        for name, hint in get_type_hints(part).items():
            setting = next(item for item in fields(part) if item.name == name)
            default = [] if name == "attention_options" else setting.default
            text = setting.metadata["help"]
            if setting.metadata["paper"]:
                text += f"; paper: {setting.metadata['paper']}"
            if not isinstance(default, bool) and default not in (None, []):
                text += f" [{default}]"
            options: dict[str, Any] = {"dest": name, "default": default, "help": text.replace("%", "%%")}
            if hint is bool:
                options["action"] = argparse.BooleanOptionalAction
            elif name == "start_from":
                options |= {"type": Path, "metavar": "RUN_OR_FILE", "default": None}
            elif name == "slots":
                options |= {"type": int, "nargs": "+", "metavar": "N"}
            elif name == "attention_options":
                options |= {"nargs": "*", "metavar": "NAME=VALUE"}
            else:
                options |= {
                    "type": hint if hint in (int, float) else str,
                    "metavar": hint.__name__.upper() if hint in (int, float) else "NAME",
                }
            group.add_argument(flag(name), **options)
    parser.add_argument("--train", nargs="+", default=["photographs"], metavar="SET", help="prepared training sets")
    parser.add_argument("--seed", type=int, default=0, help="seed of initialisation, patches and projections [0]")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/prepared"),
        metavar="DIR",
        help="folder of the prepared sets [data/prepared]",
    )
    parser.add_argument("--device", default="auto", help=gpus.HELP)
    parser.add_argument("--threads", type=int, help="CPU threads [torch's choice]")
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0, help="time between checkpoints [60]")
    parser.add_argument(
        "--validate",
        nargs="*",
        default=[],
        metavar="SET",
        help="prepared sets whose first five images show a PSNR while training; nothing is chosen by it [none]",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write event files with validation images into the run's folder"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    resolved = run_from(args)
    from sisr.training.train import train

    record = train(
        resolved,
        args.output,
        start=args.start_from,
        data=args.data,
        device=args.device,
        threads=args.threads,
        checkpoint_seconds=args.checkpoint_seconds,
        validate=args.validate,
        tensorboard=args.tensorboard,
    )
    if not args.json and int(os.environ.get("RANK", "0")) == 0:
        print(
            f"{resolved.id}: {resolved.training.steps} steps in {record['wall_seconds']:.1f} s, "
            f"weights in {args.output / 'weights.safetensors'}"
        )
    return record


def run_from(args: argparse.Namespace) -> Run:
    """The run that the words of the command line describe."""
    values = vars(args)
    network = {setting.name: values[setting.name] for setting in fields(Network)}
    network["slots"] = None if network["slots"] is None else tuple(network["slots"])
    network["attention"] = None if network["attention"] in (None, "none") else network["attention"]
    network["attention_options"] = dict(map(_option, network["attention_options"]))
    training = {setting.name: values[setting.name] for setting in fields(Training)}
    training["start_from"] = ""
    if args.start_from:
        from sisr.training.warm_start import identity

        training["start_from"] = identity(args.start_from)
    return Run(network=Network(**network), training=Training(**training), train=tuple(args.train), seed=args.seed)


def _option(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise UsageError(f"{word!r} is not an option of an attention; write it as name=value, for example k=6.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
