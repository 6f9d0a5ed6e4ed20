"""Verb `train`."""

import argparse
import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from sisr.cli import arguments
from sisr.config.declared import networks
from sisr.config.mechanisms import read_option
from sisr.config.run import Network, Run, Training, flag
from sisr.utils.errors import UsageError

HELP = "train one network: one scale, one seed, one recipe"
EXAMPLE = (
    "python -m sisr train --images my_photos --network enlcn --scale 4 --steps 500 --output my_run\n  "
    "python -m sisr train --network enlcn --scale 4 --blocks 4 --channels 32 --attention enlca --slots 0 4 \\\n"
    "    --steps 500 --train photographs --output my_run\n"
    "  python -m sisr train --config my_run/config.json --seed 1 --output my_run_seed_1"
)

SPECIAL: dict[str, dict[str, Any]] = {
    "start_from": {"type": Path, "metavar": "RUN_OR_FILE"},
    "slots": {"type": int, "nargs": "+", "metavar": "N"},
    "attention_options": {"nargs": "*", "metavar": "NAME=VALUE"},
    "network_options": {"nargs": "*", "metavar": "NAME=VALUE"},
}


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="config.json of a run; settings below override its values")
    for part in (Network, Training):
        group = parser.add_argument_group(part.__name__.lower(), part.__doc__)
        hints = get_type_hints(part)
        for setting in fields(part):
            name, hint = setting.name, hints[setting.name]
            default = [] if name.endswith("_options") else setting.default
            text = setting.metadata["help"]
            if setting.metadata["paper"]:
                text += f"; paper: {setting.metadata['paper']}"
            if not isinstance(default, bool) and default not in (None, []):
                text += f" [{default}]"
            options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text.replace("%", "%%")}
            if hint is bool:
                options["action"] = argparse.BooleanOptionalAction
            elif hint in (int, float):
                options |= {"type": hint, "metavar": hint.__name__.upper()}
            else:
                options |= SPECIAL.get(name, {"metavar": "NAME"})
            group.add_argument(flag(name), **options)
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--train", nargs="+", metavar="SET", help="prepared training sets [photographs]", **unset)
    images.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of training images, which are prepared first where that is not done yet; the network has its own "
        "attention unless another is given",
    )
    add(
        "--seed",
        type=arguments.whole(0, arguments.MAX_SEED),
        metavar="SEED",
        help="seed of initialisation, patches and projections [0]",
        **unset,
    )
    add("--output", type=Path, required=True, metavar="DIR", help="folder of the run")
    prepared = Path("data/prepared")
    add("--data", type=Path, default=prepared, metavar="DIR", help="folder of the prepared sets [data/prepared]")
    arguments.add_device(parser)
    add("--threads", type=arguments.whole(1, 4096), metavar="N", help="CPU threads [torch's choice]")
    add(
        "--checkpoint-seconds", type=arguments.number(), default=60.0, metavar="S", help="time between checkpoints [60]"
    )
    add(
        "--validate",
        nargs="*",
        default=[],
        metavar="SET",
        help="validation sets: logs the PSNR on their first five images, for monitoring only [none]",
    )
    add(
        "--test",
        nargs="*",
        default=[],
        metavar="SET",
        help="test sets: training is refused if its images include one of theirs [none]",
    )
    add("--tensorboard", action="store_true", help="write event files with validation images to the run folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    resolved = run_from(args)
    for folder in args.images:
        from sisr.data.prepare import prepare_missing

        prepare_missing(folder, resolved.network.scale, args.data)
    from sisr.data.overlap import check_apart
    from sisr.training.train import train

    check_apart(resolved.train, args.test, args.data)
    record = train(
        resolved,
        args.output,
        start=getattr(args, "start_from", None),
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
        print("\n".join(_look(resolved, args)))
    return record


def _look(run: Run, args: argparse.Namespace) -> list[str]:
    """Where the progress of a run is recorded, and how it is evaluated."""
    from sisr.cli.last_screen import next_steps

    steps: list[tuple[str, list[str]]] = []
    if args.tensorboard:
        steps.append(("watch", ["tensorboard", "--logdir", str(args.output)]))
    prepared = sorted(index.parent.parent.name for index in args.data.glob(f"*/x{run.network.scale}/index.json"))
    names = [name for name in args.test or prepared if name not in run.train] or ["photographs-test"]
    folders = [str(args.data / name) for name in names]
    words = ["--scale", str(run.network.scale), "--output-dir", str(args.output / "evaluation")]
    steps.append(("evaluate", ["python", "-m", "sisr", "evaluate", str(args.output), "--data", *folders, *words]))
    return [f"losses and learning rate: {args.output / 'train.csv'}", *next_steps(steps)]


def run_from(args: argparse.Namespace) -> Run:
    """The run of `--config`, or of the defaults, with the settings of the command line.

    Raises UsageError where the file is not the configuration of a run, or an option cannot be read.
    """
    from sisr.data.prepare import set_name

    run = Run(network=Network(), training=Training()) if args.config is None else _read(args.config)
    given = vars(args)
    network = {part.name: given[part.name] for part in fields(Network) if part.name in given}
    training = {part.name: given[part.name] for part in fields(Training) if part.name in given}
    if "slots" in network:
        network["slots"] = tuple(network["slots"])
    if "attention" in network:
        network["attention"] = None if network["attention"] == "none" else network["attention"]
    elif args.images and args.config is None:
        known = networks().get(network.get("name", run.network.name))
        network["attention"] = known.get("attention") if known else None
    # options of the file belong to the attention of the file
    same = network.get("attention", run.network.attention) == run.network.attention
    kept = run.network.attention_options if same else {}
    network["attention_options"] = {**kept, **dict(map(read_option, network.get("attention_options", [])))}
    kept = run.network.network_options if network.get("name", run.network.name) == run.network.name else {}
    network["network_options"] = {**kept, **dict(map(read_option, network.get("network_options", [])))}
    if "start_from" in training:
        from sisr.training.warm_start import identity

        training["start_from"] = identity(training["start_from"])
    seed = given.get("seed", run.seed)
    if not isinstance(seed, int) or not 0 <= seed <= arguments.MAX_SEED:
        raise UsageError(f"seed is {seed!r}; it must be a whole number from 0 to {arguments.MAX_SEED}.")
    return Run(
        network=replace(run.network, **network),
        training=replace(run.training, **training),
        train=tuple(map(set_name, args.images)) or tuple(given.get("train", run.train)),
        seed=seed,
    )


def _read(file: Path) -> Run:
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not a readable config.json of a run.") from error
    if not isinstance(plain, dict):
        raise UsageError(f"{file} is not the configuration of a run.")
    return Run.from_dict(plain)
