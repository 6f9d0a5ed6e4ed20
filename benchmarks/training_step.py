"""A training step of ENLCN at the paper's scale: milliseconds, peak memory and share of the device's peak, in one run.

    python -m benchmarks.training_step --output results/benchmarks          # 32 blocks of 256 channels, on a GPU
    python -m benchmarks.training_step --blocks 2 --channels 32 --batch 2 --patch 24 --device cpu   # a rehearsal

Compared are the form that this suite trains in (bfloat16, channels last, torch.compile), its parts, and the network
written out in float32 (benchmarks/step.py), with the contrastive loss and without. Each form has the device to itself;
one that does not fit is reported as such. Times are of whole steps (patches cut, forward, backward, Adam): median and
quartiles after a warm-up. The share of the peak counts three times the operations of a forward pass, by formula.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import machine, peak_megabytes, write_csv
from benchmarks.step import Form, Size, batches, free, make, milliseconds
from sisr.utils.memory import is_shortage

DATA_SHEET = {"H100": 989e12, "H200": 989e12}
"""Dense bfloat16 operations a second by NVIDIA's data sheets, SXM."""
AIM_MILLISECONDS, AIM_MEMORY = 30.0, 1 / 3
PAPER_STEPS, PAPER_RUNS = 1_000_000, 23  # of config/paper.yaml
OURS, PLAIN = "bfloat16, channels last, compiled", "float32, written out"
FORMS = (
    Form(name=OURS, bfloat16=True, channels_last=True, compile="default"),
    Form(name=f"{OURS}, no loss", bfloat16=True, channels_last=True, compile="default", contrastive=False),
    Form(name="bfloat16, channels last", bfloat16=True, channels_last=True),
    Form(name="float32", channels_last=True),
    Form(name=f"{PLAIN}, no loss", written_out=True, contrastive=False),
    Form(name=PLAIN, written_out=True),
)
Row = dict[str, object]


def gemm_ceiling(device: torch.device, side: int) -> float:
    """Operations a second of a bfloat16 product of two square matrices: what the device really gives."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = milliseconds(lambda: a @ b, device, warm_up=10, repeats=30)
    return 2 * side**3 / (1e-3 * float(np.median(times)))


def measure(form: Form, size: Size, device: torch.device, folder: Path, warm_up: int, repeats: int) -> Row:
    """Times and memory of one form; a note instead where it does not fit or does not work."""
    row: Row = {"form": form.name, "milliseconds": None, "low": None, "high": None, "megabytes": None, "note": ""}
    try:
        with batches(size, device, folder) as sampler:
            step = make(form, size, sampler, device)
            times = milliseconds(step, device, warm_up, repeats)
            low, middle, high = (float(value) for value in np.percentile(times, [25, 50, 75]))
            loss = float(step())
            row |= {"milliseconds": middle, "low": low, "high": high, "megabytes": megabytes(step, device)}
            if not np.isfinite(loss):
                row["note"] = f"the loss is {loss}"
    except RuntimeError as error:
        if is_shortage(error):
            row["note"] = f"out of memory ({capacity(device)})"
        elif form.compile:  # every error of torch.compile is a RuntimeError
            row["note"] = f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
        else:
            raise
    return row


def megabytes(step: object, device: torch.device) -> float:
    """Peak of a step in 10⁶ bytes: on a GPU with weights and optimiser, on a CPU what the step takes beside them."""
    assert callable(step)
    if device.type != "cuda":
        return peak_megabytes(step, device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 1e6


def capacity(device: torch.device) -> str:
    """How much memory there is, in words."""
    if device.type != "cuda":
        return "this machine's"
    return f"{torch.cuda.get_device_properties(device).total_memory / 1e9:.0f} GB"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("blocks", 32), ("channels", 256), ("batch", 16), ("patch", 48), ("scale", 4)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"(default {default})")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--warm-up", type=int, default=10, help="steps that are not counted (default 10)")
    parser.add_argument("--repeats", type=int, default=30, help="steps that are (default 30)")
    parser.add_argument("--gemm", type=int, help="side of the matrices for the ceiling (default: 8192, CPU 1024)")
    parser.add_argument("--forms", type=int, nargs="+", metavar="N", help=f"which of {[f.name for f in FORMS]}, from 1")
    parser.add_argument("--output", type=Path, help="folder for training_step.csv and training_step.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    device: torch.device = args.device
    size = Size(blocks=args.blocks, channels=args.channels, batch=args.batch, patch=args.patch, scale=args.scale)
    header = machine(device)
    print(header)
    ceiling = gemm_ceiling(device, args.gemm or (8192 if device.type == "cuda" else 1024))
    sheet = next((value for name, value in DATA_SHEET.items() if name in header), None)
    flops = 3 * size.forward_flops()
    print(
        f"ENLCN of {size.blocks} blocks of {size.channels} channels, x{size.scale}, {size.batch} patches of "
        f"{size.patch}x{size.patch}: {flops / 1e12:.3f} TFLOP a step by formula (3 times a forward pass)\n"
        f"peak: {'not known for this device' if sheet is None else f'{sheet / 1e12:.0f} TFLOP/s by data sheet'}, "
        f"{ceiling / 1e12:.3f} TFLOP/s measured (bfloat16 product)\n"
    )
    rows = []
    forms = FORMS if args.forms is None else [FORMS[number - 1] for number in args.forms]
    with tempfile.TemporaryDirectory(prefix="sisr-step-") as folder:
        for form in forms:
            row = measure(form, size, device, Path(folder), args.warm_up, args.repeats)
            free(device)
            if row["milliseconds"] is not None:
                speed = flops / (1e-3 * float(str(row["milliseconds"])))
                row |= {"of_data_sheet": sheet and speed / sheet, "of_measured_peak": speed / ceiling}
            rows.append(row | {"device": header, **vars(size)})
            print(line(row), flush=True)
    verdicts = judge({str(row["form"]): row for row in rows}, sheet)
    verdicts += reproduction({str(row["form"]): row for row in rows}, size)
    print("\n" + "\n".join(verdicts))
    if args.output:
        columns = dict.fromkeys(key for row in rows for key in row)
        write_csv(args.output / "training_step.csv", [{key: row.get(key) for key in columns} for row in rows])
        content = {"rows": rows, "verdicts": verdicts, "flops_a_step": flops, "ceiling": ceiling, "data_sheet": sheet}
        (args.output / "training_step.json").write_text(json.dumps(content, indent=2) + "\n")
        print(f"written: {args.output / 'training_step.csv'}, {args.output / 'training_step.json'}")


def line(row: Row) -> str:
    """One form as people read it."""
    if row["milliseconds"] is None:
        return f"  {row['form']:45s} {row['note']}"
    share = f"{100 * float(str(row['of_measured_peak'])):5.1f} % of the measured peak"
    if row["of_data_sheet"] is not None:
        share += f", {100 * float(str(row['of_data_sheet'])):5.1f} % of the data sheet's"
    quartiles = f"[{row['low']:.2f}, {row['high']:.2f}]"
    note = f"  {row['note']}" if row["note"] else ""
    return (
        f"  {row['form']:45s} {row['milliseconds']:9.2f} ms {quartiles:22s} {row['megabytes']:9.1f} MB  {share}{note}"
    )


def judge(rows: dict[str, Row], sheet: float | None) -> list[str]:
    """The aims, and whether they are reached."""
    ours, plain = rows.get(OURS, {}), rows.get(PLAIN, {})
    time, memory, before = ours.get("milliseconds"), ours.get("megabytes"), plain.get("megabytes")
    if not isinstance(time, float) or not isinstance(memory, float):
        return [f"no verdict: {ours.get('note') or 'the form that is judged was not measured'}"]
    where = "" if sheet else " (meant for an H100 or H200 at the paper's scale)"
    verdicts = [_verdict(f"at most {AIM_MILLISECONDS:.0f} ms a step{where}: {time:.2f} ms", time <= AIM_MILLISECONDS)]
    aim = "at most a third of the written-out form's memory"
    if isinstance(before, float) and before > 0:
        verdicts.append(_verdict(f"{aim}: {memory / before:.3f} of it", memory <= AIM_MEMORY * before))
        verdicts.append(f"{float(str(plain['milliseconds'])) / time:.1f} times as fast as the written-out form")
    elif plain.get("note"):
        verdicts.append(f"{aim}: the written-out form is {plain['note']}; this one takes {memory:.0f} MB")
    return verdicts


def reproduction(rows: dict[str, Row], size: Size) -> list[str]:
    """What training at this size would take, from the time of a step; every assumption is said."""
    told = []
    for name in (OURS, PLAIN):
        time = rows.get(name, {}).get("milliseconds")
        if isinstance(time, float):
            hours = time / 1000 * PAPER_STEPS / 3600
            told.append(
                f"{name}: {hours:.1f} h for one network of {PAPER_STEPS:,} steps of {size.batch} patches of "
                f"{size.patch}x{size.patch}, {PAPER_RUNS * hours:.0f} h for the {PAPER_RUNS} of config/paper.yaml, if "
                "each takes as long a step as this one, evaluation and data not counted"
            )
    return told


def _verdict(text: str, reached: bool) -> str:
    return f"{text}: {'reached' if reached else 'NOT reached'}"


if __name__ == "__main__":
    main()
