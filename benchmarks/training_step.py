"""A training step of ENLCN at the paper's scale: milliseconds, peak memory and share of the device's peak, in one run.

    python -m benchmarks.training_step --output results/benchmarks          # 32 blocks of 256 channels, on a GPU
    python -m benchmarks.training_step --blocks 2 --channels 32 --batch 2 --patch 24 --device cpu   # a test run

The forms are bfloat16 with channels last and torch.compile, its parts, and the float32 reference implementation
(benchmarks/step.py), with and without the contrastive loss. Each form runs alone on the device; a form that does not
fit is reported. Times are of whole steps (cropping of patches, forward, backward, Adam): median and quartiles after a
warm-up. The share of the peak counts three times the operations of a forward pass, by formula.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.common import arguments, machine, save, save_json
from benchmarks.step import Form, Size, Step, batches, free, make
from sisr.cost.timing import peak_memory, quartiles, take_turns
from sisr.utils.memory import is_shortage

DATA_SHEET = {"H100": 989e12, "H200": 989e12}
"""Dense bfloat16 operations a second by NVIDIA's data sheets, SXM."""
TARGET_MILLISECONDS, TARGET_MEMORY = 30.0, 1 / 3
PAPER_STEPS, PAPER_RUNS = 1_000_000, 23  # of config/paper.yaml
OURS, PLAIN = "bfloat16, channels last, compiled", "float32, reference"
FORMS = (
    Form(name=OURS, bfloat16=True, channels_last=True, compile="default"),
    Form(name=f"{OURS}, no loss", bfloat16=True, channels_last=True, compile="default", contrastive=False),
    Form(name="bfloat16, channels last", bfloat16=True, channels_last=True),
    Form(name="float32", channels_last=True),
    Form(name=f"{PLAIN}, no loss", reference=True, contrastive=False),
    Form(name=PLAIN, reference=True),
)
Row = dict[str, Any]


def gemm_ceiling(device: torch.device, side: int) -> float:
    """Measured operations a second of a bfloat16 product of two square matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = take_turns({"": lambda: a @ b}, device, warm_up=10, rounds=30)[""]
    return 2 * side**3 / quartiles(times)[1]


def measure(form: Form, size: Size, device: torch.device, folder: Path, warm_up: int, repeats: int) -> Row:
    """Times and memory of one form, or a note if it does not fit or does not work."""
    row: Row = {"form": form.name, "milliseconds": None, "low": None, "high": None, "megabytes": None, "note": ""}
    try:
        step = make(form, size.run(), batches(size, device, folder), device)
        times = take_turns({"": step}, device, warm_up=warm_up, rounds=repeats)[""]
        low, middle, high = (1e3 * value for value in quartiles(times))
        loss = float(step())
        row |= {"milliseconds": middle, "low": low, "high": high, "megabytes": megabytes(step, device)}
        if not math.isfinite(loss):
            row["note"] = f"the loss is {loss}"
    except RuntimeError as error:
        if is_shortage(error):
            row["note"] = f"out of memory ({capacity(device)})"
        elif form.compile:  # every error of torch.compile is a RuntimeError
            row["note"] = f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
        else:
            raise
    return row


def megabytes(step: Step, device: torch.device) -> float:
    """Peak of a step in 10⁶ bytes: on a GPU including weights and optimiser, on a CPU without them."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    return (held + peak_memory(step, device)) / 1e6


def capacity(device: torch.device) -> str:
    """Memory size of the device as text."""
    if device.type != "cuda":
        return "this machine's"
    return f"{torch.cuda.get_device_properties(device).total_memory / 1e9:.0f} GB"


def main() -> None:
    parser = arguments(__doc__, repeats=30, device="cuda" if torch.cuda.is_available() else "cpu")
    Size.add_arguments(parser)
    parser.add_argument("--warm-up", type=int, default=10, help="steps before the measurement (default 10)")
    parser.add_argument("--gemm", type=int, help="side of the matrices for the ceiling (default: 8192, CPU 1024)")
    parser.add_argument("--forms", type=int, nargs="+", metavar="N", help=f"which of {[f.name for f in FORMS]}, from 1")
    args = parser.parse_args()
    device: torch.device = args.device
    size = Size.of(args)
    header = machine(device, args.threads)
    print(header)
    ceiling = gemm_ceiling(device, args.gemm or (8192 if device.type == "cuda" else 1024))
    sheet = next((value for name, value in DATA_SHEET.items() if name in header), None)
    flops = 3 * size.forward_flops()
    print(
        f"ENLCN of {size}: {flops / 1e12:.3f} TFLOP a step by formula (3 times a forward pass)\n"
        f"peak: {'unknown for this device' if sheet is None else f'{sheet / 1e12:.0f} TFLOP/s by data sheet'}, "
        f"{ceiling / 1e12:.3f} TFLOP/s measured (bfloat16 product)\n"
    )
    rows = []
    forms = FORMS if args.forms is None else [FORMS[number - 1] for number in args.forms]
    with tempfile.TemporaryDirectory(prefix="sisr-step-") as folder:
        for form in forms:
            row = measure(form, size, device, Path(folder), args.warm_up, args.repeats)
            free(device)
            speed = flops / (1e-3 * row["milliseconds"]) if row["milliseconds"] else None
            row |= {"of_data_sheet": sheet and speed and speed / sheet, "of_measured_peak": speed and speed / ceiling}
            rows.append(row | {"device": header, **vars(size)})
            print(line(row), flush=True)
    by_form = {str(row["form"]): row for row in rows}
    verdicts = judge(by_form, sheet) + reproduction(by_form, size)
    print("\n" + "\n".join(verdicts))
    if args.output:
        save(pd.DataFrame(rows), args.output / "training_step.csv")
        content = {"rows": rows, "verdicts": verdicts, "flops_a_step": flops, "ceiling": ceiling, "data_sheet": sheet}
        save_json(content, args.output / "training_step.json")


def line(row: Row) -> str:
    """One form as a line of text."""
    if row["milliseconds"] is None:
        return f"  {row['form']:45s} {row['note']}"
    share = f"{100 * row['of_measured_peak']:5.1f} % of the measured peak"
    if row["of_data_sheet"] is not None:
        share += f", {100 * row['of_data_sheet']:5.1f} % of the data sheet's"
    quartiles = f"[{row['low']:.2f}, {row['high']:.2f}]"
    note = f"  {row['note']}" if row["note"] else ""
    return (
        f"  {row['form']:45s} {row['milliseconds']:9.2f} ms {quartiles:22s} {row['megabytes']:9.1f} MB  {share}{note}"
    )


def judge(rows: dict[str, Row], sheet: float | None) -> list[str]:
    """The targets, and whether they are reached."""
    ours, plain = rows.get(OURS, {}), rows.get(PLAIN, {})
    time, memory, before = ours.get("milliseconds"), ours.get("megabytes"), plain.get("megabytes")
    if time is None or memory is None:
        return [f"no verdict: {ours.get('note') or 'the compiled form was not measured'}"]
    scope = "" if sheet else " (target for an H100 or H200 at the paper's scale)"
    verdicts = [
        _verdict(f"at most {TARGET_MILLISECONDS:.0f} ms a step{scope}: {time:.2f} ms", time <= TARGET_MILLISECONDS)
    ]
    target = "at most a third of the reference's memory"
    if before:
        verdicts.append(_verdict(f"{target}: {memory / before:.3f} of it", memory <= TARGET_MEMORY * before))
        verdicts.append(f"{plain['milliseconds'] / time:.1f} times as fast as the reference")
    elif plain.get("note"):
        verdicts.append(f"{target}: the reference is {plain['note']}; the compiled form takes {memory:.0f} MB")
    return verdicts


def reproduction(rows: dict[str, Row], size: Size) -> list[str]:
    """Training time at this size, extrapolated from the time of a step, with the assumptions."""
    lines = []
    for name in (OURS, PLAIN):
        time = rows.get(name, {}).get("milliseconds")
        if time is not None:
            hours = time / 1000 * PAPER_STEPS / 3600
            lines.append(
                f"{name}: {hours:.1f} h for one network of {PAPER_STEPS:,} steps of {size.batch} patches of "
                f"{size.patch}x{size.patch}, {PAPER_RUNS * hours:.0f} h for the {PAPER_RUNS} of config/paper.yaml, if "
                "all have the same time a step, without evaluation and data preparation"
            )
    return lines


def _verdict(text: str, reached: bool) -> str:
    return f"{text}: {'reached' if reached else 'NOT reached'}"


if __name__ == "__main__":
    main()
