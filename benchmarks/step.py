"""One training step of ENLCA's network in several forms: as this suite trains, and written out.

The written-out form is float32 without TF32, with the attention as in the paper's formulas (`reference_attention`) and
the loss by exp of all N x N products and a full sort (`reference_loss`). Both forms get the same batches.
"""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
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
    """How large the network and a batch are; the defaults are the paper's, with the released code's patch."""

    blocks: int = 32
    channels: int = 256
    batch: int = 16
    patch: int = 48
    scale: int = 4

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

        An LR pixel of the backbone takes 9·c² a convolution; a stage of the upsampler makes 4c channels; the attention
        has 3x3 embeddings (c/4, c/4 and c channels) and the core's 2·m·c/4 + 2·m·c + m products. The contrastive loss
        is not counted.
        """
        c, m = self.channels, 128
        body = 9 * (3 * c + (2 * self.blocks + 1) * c * c)
        stages = int(math.log2(self.scale))
        upsampling = sum(9 * c * 4 * c * 4**stage for stage in range(stages)) + 9 * c * 3 * self.scale**2
        attention = len(self.slots) * (9 * c * (c // 4) * 2 + 9 * c * c + 2 * m * (c // 4) + 2 * m * c + m)
        return 2.0 * (body + upsampling + attention) * self.batch * self.patch**2


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a step is computed."""

    name: str
    bfloat16: bool = False
    channels_last: bool = False
    compile: str | None = None
    """Mode of torch.compile, None for none."""
    written_out: bool = False
    contrastive: bool = True
    graph: bool = False
    """The whole step is captured once as a CUDA graph, and replayed."""


@contextmanager
def batches(size: Size, device: torch.device, folder: Path) -> Iterator[PatchSampler]:
    """Patches of photographs of DIV2K's size, prepared in a folder."""
    root = folder / "photographs"
    if not root.exists():
        images = {str(number): image for number, image in enumerate(mosaics(photographs(None), 4))}
        write(root / "hr", images.items(), {})
        reduced = ((name, imresize(image, 1 / size.scale)) for name, image in images.items())
        write(root / f"x{size.scale}", reduced, {})
    yield PatchSampler([PairedStore(root, size.scale)], patch=size.patch, batch=size.batch, seed=0, device=device)


def make(form: Form, size: Size, sampler: PatchSampler, device: torch.device) -> Step:
    """A function that trains one step and returns the loss; network and optimiser live as long as it does."""
    torch.manual_seed(0)
    # where products are float32 they are float32, on a GPU that would round their factors, too
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = create_network(size.run()).to(device).train()
    if form.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if form.written_out:
        write_out(model)
    models.set_auxiliary_loss(model, form.contrastive)
    fused = device.type == "cuda" and not form.written_out
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fused, capturable=form.graph)
    forward = torch.compile(model, mode=form.compile) if form.compile else model
    numbers = iter(range(1 << 60))

    def take() -> tuple[Tensor, Tensor]:
        lr, hr = (pixels.float() / 255 for pixels in sampler(next(numbers)))
        return lr.contiguous(memory_format=torch.channels_last) if form.channels_last else lr, hr

    def compute(lr: Tensor, hr: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        # weights that are cast once a step and kept would stay those of the capture in a graph
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
    """The step as one CUDA graph: each call copies a batch to where the graph reads it, and replays it."""
    lr, hr = take()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            compute(lr, hr)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = compute(lr, hr)

    def step() -> Tensor:
        for place, new in zip((lr, hr), take(), strict=True):
            place.copy_(new)
        graph.replay()
        return loss

    return step


def write_out(model: nn.Module) -> None:
    """Let every ENLCA of a network compute by the written-out formulas."""
    for module in model.modules():
        if isinstance(module, ENLCA):
            module.attend = module.reference  # type: ignore[method-assign]
            module.auxiliary_loss = _written_out_loss(module)  # type: ignore[method-assign]


def _written_out_loss(module: ENLCA) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda query, key: reference_loss(query, key, module.relevant, module.irrelevant, module.margin)


def free(device: torch.device) -> None:
    """Give back what the last form used."""
    gc.collect()
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def milliseconds(step: Step, device: torch.device, warm_up: int, repeats: int) -> list[float]:
    """Time of each of `repeats` steps, after others that are not counted; on a GPU between CUDA events."""
    for _ in range(warm_up):
        step()
    if device.type != "cuda":
        import time

        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - begin))
        return times
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    torch.cuda.synchronize(device)
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize(device)
    return [first.elapsed_time(second) for first, second in pairwise(events)]
