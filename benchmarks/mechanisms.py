"""Cost of every registered mechanism over the number of tokens, on equal terms.

    python -m benchmarks.mechanisms --quick                       # some minutes
    python -m benchmarks.mechanisms --output results/benchmarks   # up to 640 x 360 pixels

Each mechanism has 64 channels of query, key and value, and its embeddings. Measured are a forward pass, and a forward
and backward pass in training with the mechanism's loss: time, and peak memory beyond weights and input. Mechanisms are
timed in turn: compare ratios of medians. A mechanism ends at the size where a pass takes more than `--limit` seconds or
memory does not suffice, as measured, or as expected from its growth between the two sizes before; the column `note`
states which.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch

from benchmarks.attention import QUICK, SIZES
from benchmarks.common import arguments, machine, report
from models import attention
from sisr.cost.measure import Subject, build, gradient_step
from sisr.cost.timing import Call, peak_memory, synchronise, take_turns
from sisr.utils.memory import available, is_shortage

CHANNELS = 64
COLUMNS = ("milliseconds", "fastest_milliseconds", "megabytes", "rounds", "note")


@dataclass
class Growth:
    """What one mechanism has needed so far, by number of tokens."""

    seconds: dict[int, float] = field(default_factory=dict)
    memory: dict[int, float] = field(default_factory=dict)
    ended: bool = False

    def excess(self, tokens: int, limit: float, free: float) -> str:
        """Why a pass with so many tokens is not started; "" where nothing is against it."""
        seconds, memory = expected(self.seconds, tokens), expected(self.memory, tokens)
        if seconds > limit:
            return f"more than {limit:g} s expected (about {seconds:,.0f} s)"
        if memory > free:
            return f"not enough memory (about {memory / 1e9:,.1f} GB expected, {free / 1e9:,.1f} GB free)"
        return ""


def expected(points: Mapping[int, float], tokens: int) -> float:
    """The value at so many tokens, by the growth between the two largest known sizes, at least linear.

    One point alone is taken to grow linearly; without any the value is 0.
    """
    *before, (last, value) = sorted(points.items()) or [(1, 0.0)]
    power = 1.0
    if before and before[-1][1] > 0 and value > 0:
        power = max(1.0, math.log(value / before[-1][1]) / math.log(last / before[-1][0]))
    return value * (tokens / last) ** power


def forward(subject: Subject) -> Call:
    """A forward pass outside training."""

    def call() -> object:
        with torch.inference_mode():
            return subject.module(subject.input)

    return call


def settled(call: Call, device: torch.device) -> float:
    """Seconds of the second call, or of the first if it took more than a second."""
    taken = 0.0
    for _ in range(2):
        began = time.perf_counter()
        call()
        synchronise(device)
        taken = time.perf_counter() - began
        if taken > 1:
            break
    return taken


def measure(
    names: Sequence[str],
    tokens: Sequence[int],
    make: Callable[[Subject], Call],
    device: torch.device,
    *,
    repeats: int,
    limit: float,
    seconds: float = 10.0,
) -> pd.DataFrame:
    """One row for each mechanism and number of tokens (keys of `SIZES`), up to the one where it ends.

    Args:
        make: the pass that is measured.
        limit: seconds that one pass may take.
        seconds: for how long all mechanisms together are timed at one size.
    """
    grown = {name: Growth() for name in names}
    rows = []
    for count in sorted(tokens):
        x = torch.rand(1, CHANNELS, *SIZES[count], generator=torch.Generator().manual_seed(0)).to(device)
        calls, notes = {}, {}
        for name, growth in grown.items():
            if growth.ended:
                continue
            notes[name] = growth.excess(count, limit, available(device))
            if not notes[name]:
                call = make(replace(build(name, CHANNELS, (1, 1), CHANNELS, device), input=x))
                try:
                    growth.seconds[count] = settled(call, device)
                    growth.memory[count] = peak_memory(call, device)
                    calls[name] = call
                except (RuntimeError, MemoryError) as error:
                    if not is_shortage(error):
                        raise
                    notes[name] = "not enough memory"
                if growth.seconds.get(count, 0) > limit:
                    notes[name] = f"more than {limit:g} s"
            growth.ended = bool(notes[name])
        times = take_turns(calls, device, rounds=repeats, seconds=seconds, fewest=1, warm_up=0) if calls else {}
        for name, note in notes.items():
            row: dict[str, object] = {"method": name, "tokens": count, "note": note}
            if name in times:
                row |= {
                    "milliseconds": 1e3 * statistics.median(times[name]),
                    "fastest_milliseconds": 1e3 * min(times[name]),
                    "megabytes": grown[name].memory[count] / 1e6,
                    "rounds": len(times[name]),
                }
            rows.append(row)
            print(f"  {count:>7,} {name:18s} {row.get('milliseconds', math.nan):10.2f} ms", end="")
            print(f" {row.get('megabytes', math.nan):10.1f} MB  {note}", flush=True)
    return pd.DataFrame(rows, columns=["method", "tokens", *COLUMNS])


def main() -> None:
    parser = arguments(__doc__, repeats=15)
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK} tokens")
    parser.add_argument("--tokens", type=int, nargs="+", choices=list(SIZES), help="these numbers of tokens")
    parser.add_argument(
        "--names", nargs="+", choices=attention.available(), default=attention.available(), metavar="NAME"
    )
    parser.add_argument("--limit", type=float, default=60.0, metavar="S", help="seconds that a pass may take (60)")
    args = parser.parse_args()
    header = machine(args.device, args.threads)
    print(header)
    tokens = args.tokens or (QUICK if args.quick else list(SIZES))
    for name, make in (("mechanisms", forward), ("mechanisms_training", gradient_step)):
        print(f"\n{name}: median ms, peak MB, by tokens")
        measured = measure(args.names, tokens, make, args.device, repeats=args.repeats, limit=args.limit)
        report(name, measured.assign(device=header), args.output, above=4096)


if __name__ == "__main__":
    main()
