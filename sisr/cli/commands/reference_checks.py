"""`sisr reference-checks`: the measuring chain against figures from outside, as a page of documentation."""

import argparse
from pathlib import Path
from typing import Any

HELP = "check imresize, PSNR, SSIM and networks against published images, figures and weights"
EXAMPLE = "python -m sisr reference-checks --reference ~/reference --output docs/checks.md"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="DIR", help="folder with benchmarks/, checks/ and weights/")
    add("--output", type=Path, metavar="FILE.md", help="page to write (default: none is written)")
    add(
        "--only",
        nargs="+",
        metavar="GROUP",
        help="imresize, matlab, rcan, copied, bicubic, ssim, weights (default: all)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    from functools import partial

    import torch
    from tqdm import tqdm

    from sisr.evaluation import inference, reference_checks
    from sisr.evaluation.reference_checks import document, networks
    from sisr.utils.errors import SisrError
    from sisr.utils.files import atomic_write, check_writable
    from sisr.utils.provenance import provenance

    if args.output:
        check_writable(args.output)
    bar = partial(tqdm, unit="check", leave=False, disable=None)
    by_group = reference_checks.run(args.reference, args.only, bar)
    rows = list(bar(networks.beside(args.reference))) if "weights" in by_group and args.output else []
    if args.output:
        device = inference.device("auto") if "weights" in by_group else torch.device("cpu")
        with atomic_write(args.output) as temporary:
            temporary.write_text(document.markdown(by_group, rows, provenance(device)), encoding="utf-8")
    every = [(group, check) for group, part in by_group.items() for check in part]
    failed = [
        f"{check.what} ({check.measured:g} instead of {check.expected:g})" for _, check in every if check.holds is False
    ]
    if not args.json:
        for group, part in by_group.items():
            counts = [sum(check.holds is state for check in part) for state in (True, False, None)]
            print(f"{group}: {counts[0]} hold, {counts[1]} do not, {counts[2]} not run")
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise SisrError(f"{len(failed)} of {len(every)} checks do not hold: {'; '.join(failed[:3])}{more}.")
    return {
        "output": str(args.output) if args.output else None,
        "checks": [
            {
                "group": group, "check": check.what, "source": check.source, "expected": check.expected,
                "measured": check.measured, "deviation": check.deviation, "bound": check.bound, "holds": check.holds,
            }
            for group, check in every
        ],
    }  # fmt: skip
