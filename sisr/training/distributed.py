"""Several processes that train one network together, as `torchrun` starts them; alone, everything here does nothing.

Each process computes its share of every batch; gradients are averaged before the optimiser's step, so the weights stay
the same everywhere. Averaging them in one piece after the backward pass, and not bucket by bucket during it as
DistributedDataParallel does, allows parameters that only an auxiliary loss uses, and is some 1 ms for 43 million
parameters on GPUs that are linked.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from sisr.evaluation import inference
from sisr.utils.errors import UsageError


@dataclass(frozen=True)
class Group:
    """The processes of one training, seen from one of them."""

    rank: int = 0
    """Number of this process."""
    size: int = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def parts(self, batch: int, accumulate: int) -> list[slice]:
        """The parts of a batch that this process computes, one after another.

        Raises:
            UsageError: the batch does not divide into equal parts.
        """
        pieces = self.size * accumulate
        if batch % pieces:
            raise UsageError(
                f"a batch of {batch} does not divide among {self.size} processes in {accumulate} parts each; "
                f"choose a batch that is a multiple of {pieces}."
            )
        share = batch // pieces
        return [slice(i * share, (i + 1) * share) for i in range(self.rank * accumulate, (self.rank + 1) * accumulate)]

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether any process raised it; every process gets the same answer."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)  # on the CPU: nothing waits for the GPU
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return [bool(flag) for flag in raised]

    def mean(self, tensor: Tensor) -> Tensor:
        """Mean of a tensor over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """Smallest value over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, distributed.ReduceOp.MIN)
        return tensor

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


@contextmanager
def join(device: str) -> Iterator[tuple[Group, torch.device]]:
    """This process's group and device: those that torchrun's environment variables tell, else alone on `device`.

    Args:
        device: as for `sisr.evaluation.inference.device`; with several processes, `auto` and `cuda` give each its GPU.

    Raises:
        UsageError: there is no such device, or one named by number for several processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group(), inference.device(device)
        return
    if ":" in device:
        raise UsageError(f"{size} processes cannot share {device}; say --device cuda, and each takes its own.")
    cuda = torch.cuda.is_available() and device in ("auto", "cuda")
    place = inference.device(f"cuda:{os.environ['LOCAL_RANK']}" if cuda else device)
    if cuda:
        torch.cuda.set_device(place)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Group(distributed.get_rank(), size), place
    finally:
        distributed.destroy_process_group()
