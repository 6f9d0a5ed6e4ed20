"""Speed and memory of the contrastive loss and of a training step of ENLCA with it, compared in one run.

    python -m benchmarks.contrastive --quick                       # a minute
    python -m benchmarks.contrastive --output results/benchmarks   # up to 9,216 tokens, batch of 16

Forward and backward of `contrastive_loss` and of its reference implementation (exp of all N x N products, full sort),
with 64 channels, k = 6, the first 2 % against ranks 8 to 10 %. Both are timed in turn: compare ratios of medians.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import Call, exponent, machine, median, peak_megabytes, plot, seconds, write_csv
from models import attention
from models.attention.contrastive import contrastive_loss, reference_loss

NEAR, FAR = (0, 0.02), (0.08, 0.10)
SIZES = (576, 1024, 2304, 4096, 9216)
REFERENCE, OURS = "reference", "contrastive_loss"


def loss_calls(batch: int, tokens: int, device: torch.device) -> dict[str, Call]:
    """Forward and backward of both losses on the same random tokens."""
    drawn = torch.randn(2, batch, tokens, 64, generator=torch.Generator().manual_seed(0)).to(device)
    query, key = (x.clone().requires_grad_() for x in F.normalize(drawn, dim=-1) * math.sqrt(6))

    def step(loss: Callable[..., Tensor]) -> Call:
        return lambda: torch.autograd.grad(loss(query, key, NEAR, FAR), (query, key))

    return {REFERENCE: step(reference_loss), OURS: step(contrastive_loss)}


def module_calls(batch: int, side: int, device: torch.device) -> dict[str, Call]:
    """A training forward and backward of ENLCA (64 channels in and out, 64 in the embeddings) with its loss."""
    torch.manual_seed(0)
    module = attention.create("enlca", 64, reduction=1).to(device).train()
    x = torch.randn(batch, 64, side, side, device=device, requires_grad=True)
    leaves = [x, *module.parameters()]

    def reference() -> tuple[Tensor, ...]:
        query, key, value = module.embed(x)
        out = module.reference(query, key, value, (side, side)).transpose(1, 2).reshape(x.shape)
        return torch.autograd.grad((x + 0.1 * out).mean() + reference_loss(query, key, NEAR, FAR), leaves)

    def ours() -> tuple[Tensor, ...]:
        module.auxiliary_loss_enabled = True
        return torch.autograd.grad(module(x).mean() + module.last_auxiliary_loss, leaves)

    return {REFERENCE: reference, OURS: ours}


def compare(
    title: str, methods: dict[str, Call], device: torch.device, repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Print one comparison; for each method median and fastest seconds and megabytes."""
    times = seconds(methods, device, repeats)
    result = {name: (median(t), min(t), peak_megabytes(methods[name], device)) for name, t in times.items()}
    print(f"\n{title}: median (fastest) ms, peak MB")
    for name, (middle, fastest, memory) in result.items():
        print(f"  {name:18s} {middle * 1e3:9.1f} ({fastest * 1e3:9.1f}) {memory:8.1f}")
    old, new = result[REFERENCE], result[OURS]
    print(f"  {old[0] / new[0]:.1f} times faster (fastest: {old[1] / new[1]:.1f}), {new[2] / old[2]:.3f} of the memory")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 2,304 tokens, batch of 2")
    parser.add_argument("--batch", type=int, help="images in the training step and at 48 x 48 (default 16, quick 2)")
    parser.add_argument("--output", type=Path, help="folder for contrastive.csv and contrastive.png")
    parser.add_argument("--repeats", type=int, default=7, help="maximum number of rounds for each size (default 7)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, help="CPU threads; 1 gives stable times on a shared machine")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    batch = args.batch or (2 if args.quick else 16)
    header = machine(args.device)
    print(header)
    rows: list[dict[str, object]] = []
    for tokens in SIZES[:3] if args.quick else SIZES:
        result = compare(f"loss, {tokens:,} tokens", loss_calls(1, tokens, args.device), args.device, args.repeats)
        rows += [
            {"method": name, "tokens": tokens, "milliseconds": middle * 1e3, "megabytes": memory, "device": header}
            for name, (middle, _, memory) in result.items()
        ]
    compare(f"loss, batch of {batch}, 2,304 tokens", loss_calls(batch, 2304, args.device), args.device, args.repeats)
    compare(f"ENLCA with its loss, {batch}x64x48x48", module_calls(batch, 48, args.device), args.device, args.repeats)
    if args.output:
        fits = {
            name: exponent(
                [int(str(r["tokens"])) for r in rows if r["method"] == name],
                [float(str(r["milliseconds"])) for r in rows if r["method"] == name],
                above=1024,
            )
            for name in (REFERENCE, OURS)
        }
        write_csv(args.output / "contrastive.csv", rows)
        plot(args.output / "contrastive.png", rows, header, fits)
        print(f"written: {args.output / 'contrastive.csv'}, {args.output / 'contrastive.png'}")


if __name__ == "__main__":
    main()
