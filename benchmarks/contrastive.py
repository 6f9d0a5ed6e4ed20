"""Speed and memory of the contrastive loss and of a training step of ENLCA with it, compared in one run.

    python -m benchmarks.contrastive --quick                       # a minute
    python -m benchmarks.contrastive --output results/benchmarks   # up to 9,216 tokens, batch of 16

Forward and backward of `contrastive_loss` and of its reference implementation (exp of all N x N products, full sort),
with 64 channels, k = 6, the first 2 % against ranks 8 to 10 %. Both are timed in turn: compare ratios of medians.
"""

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import arguments, compare, machine, report
from models import attention
from models.attention.contrastive import contrastive_loss, reference_loss
from sisr.cost.timing import Call

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


def main() -> None:
    parser = arguments(__doc__, repeats=7)
    parser.add_argument("--quick", action="store_true", help="up to 2,304 tokens, batch of 2")
    parser.add_argument("--batch", type=int, help="images in the training step and at 48 x 48 (default 16, quick 2)")
    args = parser.parse_args()
    batch, device = args.batch or (2 if args.quick else 16), args.device
    header = machine(device, args.threads)
    print(header)
    parts = []
    for tokens in SIZES[:3] if args.quick else SIZES:
        measured = compare(f"loss, {tokens:,} tokens", loss_calls(1, tokens, device), device, args.repeats)
        parts.append(measured.assign(tokens=tokens, device=header))
    compare(f"loss, batch of {batch}, 2,304 tokens", loss_calls(batch, 2304, device), device, args.repeats)
    compare(f"ENLCA with its loss, {batch}x64x48x48", module_calls(batch, 48, device), device, args.repeats)
    report("contrastive", pd.concat(parts), args.output, above=1024)


if __name__ == "__main__":
    main()
