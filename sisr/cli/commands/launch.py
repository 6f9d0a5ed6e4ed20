"""`python -m sisr launch`: a preset on one machine without Snakemake, within a limited time."""

import argparse
import math
from pathlib import Path
from typing import Any

from sisr.cli import arguments

HELP = "make the experiments of a preset on one machine: several runs at once, with a time limit, resumed later"
EXAMPLE = (
    "python -m sisr launch config/mini.yaml --minutes 25 --jobs 4\n"
    "  python -m sisr launch config/mini.yaml --from ~/images --experiments table2 k_sweep --scale-steps 5\n"
    "  python -m sisr launch config/mini.yaml --plan"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("preset", type=Path, metavar="PRESET", help="preset file, such as config/mini.yaml")
    add(
        "--minutes",
        type=arguments.number(above=True),
        default=math.inf,
        metavar="N",
        help="time limit, checkpoints included (default: none)",
    )
    add(
        "--jobs",
        type=arguments.whole(1, 4096),
        metavar="N",
        help="runs at once (default: runs_per_gpu on each GPU; without, by the cores)",
    )
    add("--experiments", nargs="+", metavar="NAME", help="in this order (default: table2 k_sweep table4 table1)")
    add("--output", type=Path, metavar="DIR", help="folder of the results (default: results/<preset>)")
    arguments.add_data(parser)
    arguments.add_origin(parser, "take missing image sets from here (default: download)")
    add(
        "--scale-steps",
        type=arguments.number(above=True),
        default=1.0,
        metavar="X",
        help="factor of all that is counted in steps [1]",
    )
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change the preset: data.test='[Set5]' seeds='[0]'",
    )
    add("--device", choices=["auto", "cpu", "cuda"], help="where to train and evaluate (default: the preset's)")
    add(
        "--threads",
        type=arguments.whole(1, 4096),
        metavar="N",
        help="CPU threads a command (default: the preset's, if there are cores enough)",
    )
    add(
        "--grace",
        type=arguments.number(),
        default=60.0,
        metavar="S",
        help="seconds of the time limit kept for checkpoints [60]",
    )
    add(
        "--every",
        type=arguments.number(above=True),
        default=30.0,
        metavar="S",
        help="seconds between two progress lines in a log [30]",
    )
    add(
        "--probe",
        type=arguments.number(),
        default=30.0,
        metavar="S",
        help="seconds in which training steps are measured first, to state hours, memory and disk; 0: not [30]",
    )
    add("--plan", action="store_true", help="show the plan and what is done; start nothing")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.config.layout import Results
    from sisr.launch.jobs import Launch, order, read_preset
    from sisr.launch.launch import launch, machine
    from sisr.utils.errors import SisrError

    config = read_preset(args.preset, args.set, args.scale_steps)
    device = args.device or config.get("device", "auto")
    on = machine(config, device, args.jobs, args.threads)
    work = Launch(
        config=config,
        results=Results(args.output or Path("results") / str(config.get("preset"))),
        data=args.data,
        experiments=order(args.experiments, config),
        device=device,
        threads=on.threads,
        origin=args.origin,
    )
    summary = launch(
        work,
        on,
        minutes=args.minutes,
        grace=args.grace,
        every=args.every,
        quiet=args.json,
        plan_only=args.plan,
        probe=args.probe,
    )
    if summary["failed"]:
        names = ", ".join(summary["failed"])
        raise SisrError(f"{len(summary['failed'])} commands failed ({names}); the same call tries them again.")
    if summary["complete"] and not (args.json or args.plan):
        from sisr.cli import last_screen

        print("\n".join(last_screen.lines(work.results, work.results.root.name, work.experiments)))
    return summary
