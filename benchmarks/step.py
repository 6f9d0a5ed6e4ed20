"""One training step of ENLCN in several forms, including a reference implementation.

The reference is float32 without TF32, with attention as in the paper's formulas (`reference_attention`) and the loss by
exp of all N x N products and a full sort (`reference_loss`). All forms use the same batches.
"""

import argparse
import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import models
from benchmarks.input import mosaics, photographs
from models.attention.contrastive import reference_loss
from models.attention.enlca import ENLCA
from sisr.config.recipes import attention_options
from sisr.config.run import Network, Run, Training
from sisr.data.imresize import imresize
from sisr.data.patches import PatchSampler
from sisr.data.store import PairedStore, write
from sisr.training.train import create_network

Step = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of network and batch; the defaults are the paper's, with the released code's patch."""

    blocks: int = 32
    channels: int = 256
    batch: int = 16
    patch: int = 48
    scale: int = 4

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser, **defaults: int) -> None:
        """An option for each field."""
        for name, default in (vars(cls()) | defaults).items():
            parser.add_argument(f"--{name}", type=int, default=default, help=f"(default {default})")

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Size":
        """As given on the command line."""
        return cls(**{name: getattr(args, name) for name in vars(cls())})

    def __str__(self) -> str:
        patches = f"{self.batch} patches of {self.patch}x{self.patch}"
        return f"{self.blocks} blocks of {self.channels} channels, x{self.scale}, {patches}"

    @property
    def slots(self) -> tuple[int, ...]:
        """Five slots in 32 blocks, three in 16: before the first block and after every eighth."""
        return tuple(range(0, self.blocks + 1, 8))

    def run(self) -> Run:
        """The configuration of a run of this size by the paper's recipe."""
        network = Network(
            name="enlcn",
            scale=self.scale,
            blocks=self.blocks,
            channels=self.channels,
            attention="enlca",
            attention_options=attention_options("paper", "enlca"),
            slots=self.slots,
        )
        return Run(network=network, training=Training(batch=self.batch, patch=self.patch, contrastive_weight=1e-3))

    def forward_flops(self) -> float:
        """Operations of a forward pass over a batch, two a multiply-add, by formula: convolutions, attention.

        An LR pixel of the backbone needs 9·c² for each convolution; a stage of the upsampler outputs 4c channels; the
        attention has 3x3 embeddings (c/4, c/4 and c channels) and the core's 2·m·c/4 + 2·m·c + m products. The
        contrastive loss is not counted.
        """
        c, m = self.channels, 128
        body = 9 * (3 * c + (2 * self.blocks + 1) * c * c)
        stages = int(math.log2(self.scale))
        upsampling = sum(9 * c * 4 * c * 4**stage for stage in range(stages)) + 9 * c * 3 * self.scale**2
        attention = len(self.slots) * (9 * c * (c // 4) * 2 + 9 * c * c + 2 * m * (c // 4) + 2 * m * c + m)
        return 2.0 * (body + upsampling + attention) * self.batch * self.patch**2


@dataclass(frozen=True, kw_only=True)
class Form:
    """Form of a step."""

    name: str
    bfloat16: bool = False
    channels_last: bool = False
    compile: str | None = None
    """Mode of torch.compile, None for none."""
    reference: bool = False
    contrastive: bool = True
    graph: bool = False
    """Capture the whole step as a CUDA graph and replay it."""


def batches(size: Size, device: torch.device, folder: Path) -> PatchSampler:
    """Patches of photographs with the size of DIV2K's images, prepared in a folder."""
    root = folder / "photographs"
    if not root.exists():
        images = {str(number): image for number, image in enumerate(mosaics(photographs(None), 4))}
        write(root / "hr", images.items(), {})
        reduced = ((name, imresize(image, 1 / size.scale)) for name, image in images.items())
        write(root / f"x{size.scale}", reduced, {})
    return PatchSampler([PairedStore(root, size.scale)], patch=size.patch, batch=size.batch, seed=0, device=device)


def make(form: Form, run: Run, sampler: PatchSampler, device: torch.device) -> Step:
    """A function that trains one step and returns the loss."""
    torch.manual_seed(0)
    # no TF32: float32 products are computed in float32 on every GPU
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = create_network(run).to(device).train()
    if form.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if form.reference:
        use_reference(model)
    models.set_auxiliary_loss(model, form.contrastive)
    fused, graph = not form.reference, form.graph
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fused, capturable=graph)
    forward = torch.compile(model, mode=form.compile) if form.compile else model
    numbers = iter(range(1 << 60))

    def take() -> tuple[Tensor, Tensor]:
        lr, hr = (pixels.float() / 255 for pixels in sampler(next(numbers)))
        return lr.contiguous(memory_format=torch.channels_last) if form.channels_last else lr, hr

    def compute(lr: Tensor, hr: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        # with a cache, a graph would replay the weights cast at its capture
        with torch.autocast(device.type, torch.bfloat16, enabled=form.bfloat16, cache_enabled=not form.graph):
            sr = forward(lr)
        loss = F.l1_loss(sr.float(), hr)
        if form.contrastive:
            contrastive = models.auxiliary_loss(model)
            assert contrastive is not None
            loss = loss + 1e-3 * contrastive
        loss.backward()
        optimizer.step()
        return loss.detach()

    return capture(take, compute) if form.graph else lambda: compute(*take())


def capture(take: Callable[[], tuple[Tensor, Tensor]], compute: Callable[[Tensor, Tensor], Tensor]) -> Step:
    """The step as one CUDA graph: each call copies a batch to the graph's input and replays the graph."""
    lr, hr = take()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            compute(lr, hr)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = compute(lr, hr)

    def step() -> Tensor:
        for static, new in zip((lr, hr), take(), strict=True):
            static.copy_(new)
        graph.replay()
        return loss

    return step


def use_reference(model: nn.Module) -> None:
    """Replace attention and loss of every ENLCA by the reference implementations."""
    for module in model.modules():
        if isinstance(module, ENLCA):
            module.attend = module.reference  # type: ignore[method-assign]
            options = {"relevant": module.relevant, "irrelevant": module.irrelevant, "margin": module.margin}
            module.auxiliary_loss = partial(reference_loss, **options)  # type: ignore[method-assign,arg-type]


def free(device: torch.device) -> None:
    """Release the memory of the last form."""
    gc.collect()
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
