"""Small networks leave a large GPU idle: what several trainings at once, and a step as a CUDA graph, gain.

    python -m benchmarks.small_networks --output results/benchmarks        # 16 blocks of 64 channels, on a GPU
    python -m benchmarks.small_networks --blocks 2 --channels 8 --batch 2 --patch 24 --device cpu --seconds 2

A form of the step (benchmarks/step.py) is trained by 1, 2 and 4 processes at the same time, each with a network of its
own; what counts is the sum of their steps a second. The processes warm up, wait for each other, and train for the same
seconds. The forms: bfloat16 and channels last as it is, compiled, compiled with mode="reduce-overhead" (which makes
CUDA graphs of the parts), and the whole step captured as one CUDA graph. The last two are for GPUs only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measuring import machine, write_csv
from benchmarks.step import Form, Size, batches, make
from sisr.utils.memory import is_shortage

FORMS = {
    "eager": Form(name="bfloat16, channels last", bfloat16=True, channels_last=True),
    "compiled": Form(name="compiled", bfloat16=True, channels_last=True, compile="default"),
    "graphs": Form(name='compiled, "reduce-overhead"', bfloat16=True, channels_last=True, compile="reduce-overhead"),
    "captured": Form(name="whole step as a CUDA graph", bfloat16=True, channels_last=True, graph=True),
}
ON_CPU = ("eager", "compiled")


def options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What both the benchmark and its workers are told."""
    for name, default in (("blocks", 16), ("channels", 64), ("batch", 16), ("patch", 48), ("scale", 4)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"(default {default})")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training that is counted (default 10)")
    parser.add_argument("--warm-up", type=int, default=20, help="steps that are not counted (default 20)")
    parser.add_argument("--worker", choices=list(FORMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def work(args: argparse.Namespace) -> None:
    """One process: get ready, wait for a line, train, tell how many steps in how many seconds."""
    size = Size(blocks=args.blocks, channels=args.channels, batch=args.batch, patch=args.patch, scale=args.scale)
    if args.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        with batches(size, args.device, args.folder) as sampler:
            step = make(FORMS[args.worker], size, sampler, args.device)
            for _ in range(args.warm_up):
                loss = step()
            float(loss)  # waits for the GPU
            print("ready", flush=True)
            sys.stdin.readline()
            begin, count = time.perf_counter(), 0
            while time.perf_counter() - begin < args.seconds:
                for _ in range(10 if args.device.type == "cuda" else 1):
                    loss = step()
                    count += 1
                float(loss)
            print(json.dumps({"steps": count, "seconds": time.perf_counter() - begin}), flush=True)
    except RuntimeError as error:
        text = "out of memory" if is_shortage(error) else str(error).strip().splitlines()[0]
        print(json.dumps({"error": text}), flush=True)


def together(form: str, processes: int, words: list[str], folder: Path) -> float | str:
    """Steps a second of so many trainings at once, all together; a text where one of them failed."""
    command = [sys.executable, "-m", "benchmarks.small_networks", *words, "--worker", form, "--folder", str(folder)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for worker in workers:
            said = _line(worker)
            if said != "ready":
                return str(json.loads(said)["error"]) if said else "the process died"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        told = [json.loads(_line(worker) or '{"error": "the process died"}') for worker in workers]
        failed = [str(one["error"]) for one in told if "error" in one]
        return failed[0] if failed else sum(one["steps"] / one["seconds"] for one in told)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _line(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="at once (default 1 2 4)")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), help="(default: all that the device can do)")
    parser.add_argument("--output", type=Path, help="folder for small_networks.csv")
    args = options(parser).parse_args()
    if args.worker:
        work(args)
        return
    header = machine(args.device)
    patches = f"{args.batch} patches of {args.patch}x{args.patch}"
    size = f"{args.blocks} blocks of {args.channels} channels, x{args.scale}, {patches}"
    print(f"{header}\nENLCN of {size}: steps a second of all processes together, and the gain over one eager process")
    names = ("blocks", "channels", "batch", "patch", "scale", "device", "seconds", "warm_up")
    words = [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="sisr-small-") as folder:
        with batches(Size(scale=args.scale), torch.device("cpu"), Path(folder)):
            pass  # prepared once, for all processes
        for form in args.forms or (FORMS if args.device.type == "cuda" else ON_CPU):
            for processes in args.processes:
                rate = together(form, processes, words, Path(folder))
                known = isinstance(rate, float)
                first = rows[0]["steps_per_second"] if rows else rate
                gain = rate / first if known and isinstance(first, float) else None
                rows.append(
                    {
                        "form": FORMS[form].name,
                        "processes": processes,
                        "steps_per_second": rate if known else None,
                        "gain": gain,
                        "note": "" if known else rate,
                        "network": size,
                        "device": header,
                    }
                )
                told = f"{rate:9.2f}  {'' if gain is None else f'{gain:5.2f}x'}" if isinstance(rate, float) else rate
                print(f"  {FORMS[form].name:32s} {processes} at once  {told}", flush=True)
    best = max((row for row in rows if row["gain"]), key=lambda row: float(str(row["gain"])), default=None)
    if best:
        print(f"best: {best['form']}, {best['processes']} at once: {best['gain']:.2f} times one eager process")
    if args.output:
        write_csv(args.output / "small_networks.csv", rows)
        print(f"written: {args.output / 'small_networks.csv'}")


if __name__ == "__main__":
    main()
