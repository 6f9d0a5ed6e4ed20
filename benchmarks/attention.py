"""Speed and memory of attention cores over the number of tokens, in one run on this machine.

    python -m benchmarks.attention --quick                       # a minute
    python -m benchmarks.attention --output results/benchmarks   # up to 640 x 360 pixels

Compared are ENLCA's fast core in float32 and bfloat16, its formulas written out as in the released code, the four bare
matrix products with one exp a side (a floor for this precision), exact attention by scaled_dot_product_attention (up to
10,000 tokens on a CPU), and NLSA. All get the same normalised queries and keys and the same values (64 channels,
m = 128, k = 6), without embeddings. Ratios of medians are what to compare: all methods take turns.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import Call, exponent, machine, median, peak_megabytes, plot, seconds, write_csv
from models import attention
from models.attention._projection import draw_projection
from models.attention.enla import random_feature_attention, reference_attention
from models.attention.nla import exact_attention

SIZES = {1024: (32, 32), 2304: (48, 48), 4096: (64, 64), 10_000: (100, 100), 57_600: (180, 320), 230_400: (360, 640)}
QUICK = (1024, 4096, 10_000)
WRITTEN_OUT, BARE = "ENLCA written out", "four bare GEMMs, two exp"
OURS, OURS_SHORT, EXACT, SPARSE = "ENLCA", "ENLCA bfloat16", "NLA (exact)", "NLSA"


def bare(query: Tensor, key: Tensor, value: Tensor, directions: Tensor) -> Tensor:
    """What is left of ENLA without normaliser, ε and division."""
    features = torch.exp(key @ directions).transpose(1, 2)
    return torch.exp(query @ directions) @ (features @ value)


def calls(tokens: int, channels: int, m: int, k: float, device: torch.device) -> dict[str, Call]:
    """The methods on one set of random tokens of an image."""
    generator = torch.Generator().manual_seed(0)
    size = (1, tokens, channels)
    query, key, value = (torch.randn(size, generator=generator).to(device) for _ in range(3))
    query, key = (F.normalize(x, dim=-1) * math.sqrt(k) for x in (query, key))
    short = [x.bfloat16() for x in (query, key, value)]
    projection = draw_projection(m, channels, generator=generator).to(device)
    directions = projection.t().contiguous()
    nlsa = attention.create("nlsa", channels, reduction=1).to(device).eval()
    unit = F.normalize(key, dim=-1)
    methods: dict[str, Call] = {
        WRITTEN_OUT: lambda: reference_attention(query, key, value, projection),
        BARE: lambda: bare(query, key, value, directions),
        OURS: lambda: random_feature_attention(query, key, value, projection, k),
        OURS_SHORT: lambda: random_feature_attention(short[0], short[1], short[2], projection, k),
        SPARSE: lambda: nlsa.attend(key, unit, value, SIZES[tokens]),
    }
    if tokens <= 16_384 or device.type == "cuda":
        methods[EXACT] = lambda: exact_attention(query, key, value)
    return methods


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK} tokens")
    parser.add_argument("--tokens", type=int, nargs="+", choices=list(SIZES), help="these numbers of tokens")
    parser.add_argument("--output", type=Path, help="folder for attention.csv and attention.png")
    parser.add_argument("--repeats", type=int, default=15, help="most rounds a size (default 15)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, help="CPU threads; 1 gives steady times on a machine that others use")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    header = machine(args.device)
    print(header)
    rows: list[dict[str, object]] = []
    with torch.inference_mode():
        for tokens in args.tokens or (QUICK if args.quick else SIZES):
            methods = calls(tokens, 64, 128, 6.0, args.device)
            times = seconds(methods, args.device, args.repeats)
            medians = {name: median(values) for name, values in times.items()}
            print(f"\n{tokens:,} tokens, 64 channels, m = 128: median (fastest) ms, peak MB, speed to written out")
            for name, call in methods.items():
                memory = peak_megabytes(call, args.device)
                ratio = medians[WRITTEN_OUT] / medians[name]
                fastest = min(times[name])
                print(f"  {name:26s} {medians[name] * 1e3:9.2f} ({fastest * 1e3:8.2f}) {memory:8.1f}  {ratio:6.2f}x")
                rows.append(
                    {
                        "method": name,
                        "tokens": tokens,
                        "milliseconds": medians[name] * 1e3,
                        "fastest_milliseconds": fastest * 1e3,
                        "megabytes": memory,
                        "rounds": len(times[name]),
                        "device": header,
                    }
                )
            print(f"  ENLCA takes {medians[OURS] / medians[BARE]:.2f} times the bare products", end="")
            print(f", exact attention {medians[EXACT] / medians[OURS]:.1f} times ENLCA" if EXACT in medians else "")
    report(rows, args.output, header)


def report(rows: list[dict[str, object]], output: Path | None, header: str) -> None:
    """Print how time grows, write CSV and PNG."""
    fits = {}
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        own = [row for row in rows if row["method"] == method]
        fits[method] = exponent(
            [int(str(r["tokens"])) for r in own], [float(str(r["fastest_milliseconds"])) for r in own]
        )
    print("\ntime grows with N to the power (fastest times, from 4,096 tokens on):")
    for method, slope in fits.items():
        print(f"  {method:26s} {slope:.2f}")
    if output:
        write_csv(output / "attention.csv", rows)
        plot(output / "attention.png", rows, header, fits)
        print(f"written: {output / 'attention.csv'}, {output / 'attention.png'}")


if __name__ == "__main__":
    main()
