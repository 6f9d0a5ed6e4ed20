"""Throughput of small networks on a large GPU: several concurrent training runs, and a step as a CUDA graph.

    python -m benchmarks.small_networks --output results/benchmarks        # 16 blocks of 64 channels, on a GPU
    python -m benchmarks.small_networks --blocks 2 --channels 8 --batch 2 --patch 24 --device cpu --seconds 2

1, 2 and 4 concurrent processes train one network each with one form of the step (benchmarks/step.py). The result is the
sum of their steps a second. The processes warm up, wait for each other, and train for the same time. The forms:
bfloat16 with channels last, compiled, compiled with mode="reduce-overhead" (CUDA graphs of parts), and the whole step
captured as one CUDA graph. The last two need a GPU.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.common import machine, save
from benchmarks.step import Form, Size, batches, make
from sisr.cost.timing import take_turns
from sisr.utils.memory import is_shortage

FORMS = {
    "eager": Form(name="bfloat16, channels last", bfloat16=True, channels_last=True),
    "compiled": Form(name="compiled", bfloat16=True, channels_last=True, compile="default"),
    "graphs": Form(name='compiled, "reduce-overhead"', bfloat16=True, channels_last=True, compile="reduce-overhead"),
    "captured": Form(name="whole step as a CUDA graph", bfloat16=True, channels_last=True, graph=True),
}
ON_CPU = ("eager", "compiled")


def work(args: argparse.Namespace) -> None:
    """One process: warm up, wait for a line, train, print the steps a second."""
    size, at_once = Size.of(args), 10 if args.device.type == "cuda" else 1
    if args.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        sampler = batches(size, args.device, args.folder)
        step = make(FORMS[args.worker], size.run(), sampler, args.device)

        def steps() -> None:
            for _ in range(at_once):  # the GPU is not waited for in between
                step()

        take_turns({"": step}, args.device, rounds=args.warm_up, warm_up=0)
        print("ready", flush=True)
        sys.stdin.readline()
        times = take_turns({"": steps}, args.device, seconds=args.seconds, rounds=sys.maxsize, fewest=1, warm_up=0)[""]
        print(json.dumps({"rate": at_once * len(times) / sum(times)}), flush=True)
    except RuntimeError as error:
        text = "out of memory" if is_shortage(error) else str(error).strip().splitlines()[0]
        print(json.dumps({"error": text}), flush=True)


def together(form: str, processes: int, words: list[str], folder: Path) -> float | str:
    """Total steps a second of concurrent training runs, or an error message."""
    command = [sys.executable, "-m", "benchmarks.small_networks", *words, "--worker", form, "--folder", str(folder)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for worker in workers:
            line = _line(worker)
            if line != "ready":
                return str(json.loads(line)["error"]) if line else "the process died"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        results = [json.loads(_line(worker) or '{"error": "the process died"}') for worker in workers]
        errors = [str(result["error"]) for result in results if "error" in result]
        return errors[0] if errors else sum(result["rate"] for result in results)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _line(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1, 2, 4], help="concurrent processes (default 1 2 4)"
    )
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), help="(default: all that the device supports)")
    parser.add_argument("--output", type=Path, help="folder for small_networks.csv")
    Size.add_arguments(parser, blocks=16, channels=64)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured training time (default 10)")
    parser.add_argument("--warm-up", type=int, default=20, help="steps before the measurement (default 20)")
    parser.add_argument("--worker", choices=list(FORMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return
    header = machine(args.device)
    size = Size.of(args)
    print(f"{header}\nENLCN of {size}: steps a second of all processes together, and the gain over one eager process")
    names = (*vars(size), "device", "seconds", "warm_up")
    words = [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sisr-small-") as folder:
        batches(size, torch.device("cpu"), Path(folder))  # prepare the images once for all processes
        for form in args.forms or (FORMS if args.device.type == "cuda" else ON_CPU):
            for processes in args.processes:
                rate = together(form, processes, words, Path(folder))
                row = {"form": FORMS[form].name, "processes": processes, "steps_per_second": None, "gain": None}
                rows.append(row | {"note": "", "network": str(size), "device": header})
                if isinstance(rate, str):
                    rows[-1]["note"] = shown = rate
                else:
                    first = rows[0]["steps_per_second"] if rows[1:] else rate
                    rows[-1] |= {"steps_per_second": rate, "gain": first and rate / first}
                    shown = f"{rate:9.2f}  {rate / first:5.2f}x" if first else f"{rate:9.2f}"
                print(f"  {FORMS[form].name:32s} {processes} at once  {shown}", flush=True)
    best = max((row for row in rows if row["gain"]), key=lambda row: row["gain"], default=None)
    if best:
        print(f"best: {best['form']}, {best['processes']} at once: {best['gain']:.2f} times one eager process")
    if args.output:
        save(pd.DataFrame(rows), args.output / "small_networks.csv")


if __name__ == "__main__":
    main()
