"""A training step on the CPU beside its convolutions alone, at the sizes of the presets, measured in one run.

    python -m benchmarks.cpu_step --threads 1
    python -m benchmarks.cpu_step --threads 2 --presets laptop

For each preset three networks of Table 2: the plain one, with ENLCA, and with ENLCA whose loss is over all queries of a
patch instead of `contrastive_rows`. "Convolutions" is forward and backward of every convolution of the plain network on
the tensors that it sees, and nothing else: what no training loop can save. "Loss alone" is forward and backward of the
contrastive loss of one ENLCA module. All calls are timed in turn: compare ratios.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import arguments, compare, machine, save
from benchmarks.step import Form, Size, batches, make
from models import attention
from sisr.config.presets import plan
from sisr.config.run import Run
from sisr.cost.timing import Call
from sisr.data.patches import PatchSampler
from sisr.training.train import create_network

CONFIG = Path(__file__).parents[1] / "config"
ALONE, PLAIN, ENLCA, ALL_ROWS = "convolutions alone", "plain", "ENLCA", "ENLCA, loss over all queries"
LOSS, LOSS_ALL = "loss alone", "loss alone, over all queries"
BOUND = 1.3
"""Most times its convolutions that a step of the plain network should take."""


def runs(preset: str) -> Iterator[tuple[str, Run]]:
    """The runs of a preset that are measured, by name."""
    table2 = plan(yaml.safe_load((CONFIG / f"{preset}.yaml").read_text())).experiments["table2"]
    by_attention = {run.network.attention: run for run in table2}
    enlca = by_attention["enlca"]
    yield PLAIN, by_attention[None]
    yield ENLCA, enlca
    options = {name: value for name, value in enlca.network.attention_options.items() if name != "contrastive_rows"}
    if options != enlca.network.attention_options:
        yield ALL_ROWS, replace(enlca, network=replace(enlca.network, attention_options=options))


def convolutions(run: Run, sampler: PatchSampler) -> Call:
    """Forward and backward of all convolutions of a network, each by itself."""
    model = create_network(run).train()
    if run.training.channels_last:
        model = model.to(memory_format=torch.channels_last)
    seen: list[tuple[nn.Conv2d, Tensor, Tensor]] = []

    def note(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        seen.append((module, args[0].detach().requires_grad_(args[0].requires_grad), torch.rand_like(out)))

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                stack.callback(module.register_forward_hook(note).remove)
        lr = sampler(0)[0].float() / 255
        model(lr.contiguous(memory_format=torch.channels_last) if run.training.channels_last else lr)

    def call() -> None:
        for module, x, gradient in seen:
            leaves = [leaf for leaf in (x, module.weight, module.bias) if leaf is not None and leaf.requires_grad]
            out = F.conv2d(x, module.weight, module.bias, module.stride, module.padding, module.dilation, module.groups)
            torch.autograd.grad(out, leaves, gradient)

    return call


def loss_alone(run: Run) -> Call:
    """Forward and backward of the contrastive loss of one module on random unit vectors."""
    size, options = run.network, run.network.attention_options
    module = attention.create("enlca", size.channels, **options)
    shape = run.training.batch, run.training.patch**2, size.channels // 4
    query, key = (F.normalize(torch.randn(shape), dim=-1).requires_grad_() for _ in range(2))

    def call() -> None:
        torch.autograd.grad(module.auxiliary_loss(query, key), (query, key))

    return call


def measure(preset: str, device: torch.device, repeats: int, folder: Path) -> pd.DataFrame:
    """Times of the steps of a preset and of the plain network's convolutions."""
    of_preset = dict(runs(preset))
    run = of_preset[PLAIN]
    patches = Size(batch=run.training.batch, patch=run.training.patch, scale=run.network.scale)
    sampler = batches(patches, device, folder)
    calls = {ALONE: convolutions(run, sampler)}
    for name, run in of_preset.items():
        form = Form(
            name=name, channels_last=run.training.channels_last, contrastive=run.training.contrastive_weight > 0
        )
        calls[name] = make(form, run, sampler, device)
    if ALL_ROWS in of_preset:
        calls |= {LOSS: loss_alone(of_preset[ENLCA]), LOSS_ALL: loss_alone(of_preset[ALL_ROWS])}
    title = (
        f"{preset}: {run.network.blocks} blocks of {run.network.channels}, {patches.batch} patches of {patches.patch}"
    )
    return compare(title, calls, device, repeats).assign(preset=preset, threads=torch.get_num_threads())


def main() -> None:
    parser = arguments(__doc__, repeats=20)
    parser.add_argument("--presets", nargs="+", default=["quick", "laptop"], help="(default quick laptop)")
    args = parser.parse_args()
    header = machine(args.device, args.threads)
    print(header)
    parts = []
    for preset in args.presets:
        with tempfile.TemporaryDirectory(prefix="sisr-step-") as folder:
            parts.append(measure(preset, args.device, args.repeats, Path(folder)))
        time = dict(zip(parts[-1]["method"], parts[-1]["fastest_milliseconds"], strict=True))
        ratio = time[PLAIN] / time[ALONE]
        within = "at most" if ratio <= BOUND else "above"
        print(f"  a plain step takes {ratio:.2f} times its convolutions ({within} {BOUND})")
        if ALL_ROWS in time:
            loss = (time[ENLCA] - time[PLAIN]) / (time[ALL_ROWS] - time[PLAIN])
            print(f"  with contrastive_rows ENLCA adds {loss:.2f} times what it adds with all queries")
            print(f"  the loss alone takes {time[LOSS] / time[LOSS_ALL]:.2f} times as long")
    if args.output:
        save(pd.concat(parts).assign(device=header), args.output / "cpu_step.csv")


if __name__ == "__main__":
    main()
