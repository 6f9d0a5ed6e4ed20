"""Speed and memory of attention cores over the number of tokens, compared in one run.

    python -m benchmarks.attention --quick                       # a minute
    python -m benchmarks.attention --output results/benchmarks   # up to 640 x 360 pixels

The methods are ENLCA in float32 and bfloat16, its reference implementation as in the released code, the four bare
matrix products with two exp (a lower bound for this precision), exact attention by scaled_dot_product_attention (up to
10,000 tokens on a CPU), and NLSA. All use the same normalised queries and keys and the same values (64 channels, m =
128, k = 6), without embeddings. Methods are timed in turn: compare ratios of medians.
"""

import math

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import arguments, compare, machine, report
from models import attention
from models.attention._projection import draw_projection
from models.attention.enla import random_feature_attention, reference_attention
from models.attention.nla import exact_attention
from sisr.cost.timing import Call

SIZES = {1024: (32, 32), 2304: (48, 48), 4096: (64, 64), 10_000: (100, 100), 57_600: (180, 320), 230_400: (360, 640)}
QUICK = (1024, 4096, 10_000)
REFERENCE, BARE = "ENLCA reference", "four bare GEMMs, two exp"
OURS, OURS_SHORT, EXACT, SPARSE = "ENLCA", "ENLCA bfloat16", "NLA (exact)", "NLSA"


def bare(query: Tensor, key: Tensor, value: Tensor, directions: Tensor) -> Tensor:
    """ENLA without normaliser, ε and division."""
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
        REFERENCE: lambda: reference_attention(query, key, value, projection),
        BARE: lambda: bare(query, key, value, directions),
        OURS: lambda: random_feature_attention(query, key, value, projection, k),
        OURS_SHORT: lambda: random_feature_attention(short[0], short[1], short[2], projection, k),
        SPARSE: lambda: nlsa.attend(key, unit, value, SIZES[tokens]),
    }
    if tokens <= 16_384 or device.type == "cuda":
        methods[EXACT] = lambda: exact_attention(query, key, value)
    return methods


def main() -> None:
    parser = arguments(__doc__, repeats=15)
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK} tokens")
    parser.add_argument("--tokens", type=int, nargs="+", choices=list(SIZES), help="these numbers of tokens")
    args = parser.parse_args()
    header = machine(args.device, args.threads)
    print(header)
    parts = []
    with torch.inference_mode():
        for tokens in args.tokens or (QUICK if args.quick else SIZES):
            methods = calls(tokens, 64, 128, 6.0, args.device)
            measured = compare(f"{tokens:,} tokens, 64 channels, m = 128", methods, args.device, args.repeats)
            time = dict(zip(measured["method"], measured["milliseconds"], strict=True))
            print(f"  ENLCA takes {time[OURS] / time[BARE]:.2f} times the bare products", end="")
            print(f", exact attention {time[EXACT] / time[OURS]:.1f} times ENLCA" if EXACT in time else "")
            parts.append(measured.assign(tokens=tokens, device=header))
    report("attention", pd.concat(parts), args.output, above=4096)


if __name__ == "__main__":
    main()
