"""Checks of what a mechanism computes: shape, gradients, precision, independence of batch and memory format."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from models.attention._maps import attention_map, why_not
from models.attention.checks.tools import SIZES, Build, Failure, Skipped, close, finite, generator, images, same_form


def shapes(build: Build, channels: int) -> None:
    """The output is finite, with shape and dtype of the input, at sizes not divisible by any window or stride."""
    module = build().eval()
    for height, width in SIZES:
        x = images(2, channels, height, width)
        where = f"at {height}x{width} pixels"
        with torch.no_grad():
            _attend_form(module, x)
            given = x.clone()
            same_form(module(x), x, where)
        if not torch.equal(x, given):
            raise Failure(f"the forward changes its input in place {where}; work on a copy of it")
        for what, special in (("zeros", torch.zeros_like(x)), ("one colour", torch.ones_like(x))):
            with torch.no_grad():
                finite(module(special), f"output for an image of {what} {where}")


def gradients(build: Build, channels: int) -> None:
    """All weights and the input get a gradient that equals finite differences."""
    module = build().double().eval()
    x = images(1, channels, 6, 7).double().requires_grad_()
    weighting = images(1, channels, 6, 7, seed=1).double()

    def value() -> Tensor:
        return (module(x) * weighting).sum()

    value().backward()
    leaves = {"input": x} | dict(module.named_parameters())
    for name, leaf in leaves.items():
        if leaf.grad is None:
            raise Failure(f"{name} gets no gradient: remove it, or let the output depend on it")
        finite(leaf.grad, f"gradient of {name}")
        direction = torch.randn(leaf.shape, dtype=leaf.dtype, generator=generator(2))
        slope = (leaf.grad * direction).sum().item()
        step = 1e-6
        with torch.no_grad():
            leaf += step * direction
            above = value().item()
            leaf -= 2 * step * direction
            below = value().item()
            leaf += step * direction
        measured = (above - below) / (2 * step)
        if abs(slope - measured) > 1e-4 * max(abs(measured), 1):
            raise Failure(
                f"gradient of {name} along a random direction is {slope:.6g}, finite differences give {measured:.6g}"
            )


def dtypes(build: Build, channels: int) -> None:
    """In bfloat16, as module and under autocast, the output is close to float32."""
    module = build().eval()
    x = images(2, channels, 9, 8)
    with torch.no_grad():
        expected = module(x)
        short = copy.deepcopy(module).bfloat16()(x.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = module(x)
    same_form(short, x.bfloat16(), "in bfloat16")
    for what, out in (("bfloat16", short), ("autocast to bfloat16", mixed)):
        finite(out, f"output in {what}")
        error = ((out.float() - expected).norm() / expected.norm()).item()
        if error > 0.05:
            raise Failure(
                f"output in {what} differs from float32 by {error:.1%}; compute exponentials and sums in float32"
            )


def batch_independence(build: Build, channels: int) -> str | None:
    """An image's output does not depend on the other images of the batch."""
    module = build().eval()
    x = images(3, channels, 8, 9) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1, 1)
    with torch.no_grad():
        together = module(x)
        for index in range(len(x)):
            alone = module(x[index : index + 1])
            close(together[index : index + 1], alone, 1e-4, f"image {index} of a batch of 3", "the same image alone")
    return _batch_statistics(module, x)


def determinism(build: Build, channels: int) -> str | None:
    """Outside training two calls give identical bits, and the module does not use the global generator."""
    module = build().eval()
    x = images(2, channels, 11, 13)
    state = torch.get_rng_state()
    with torch.no_grad():
        first, second = module(x), module(x)
    if not torch.equal(first, second):
        raise Failure(
            "two evaluations of the same image differ; draw random numbers in the constructor or in training only"
        )
    if not torch.equal(state, torch.get_rng_state()):
        raise Failure("an evaluation uses torch's global generator; use a separate generator or a buffer")
    return _randomness(module, x)


def memory_format(build: Build, channels: int) -> None:
    """channels_last input, strided input and training mode without a loss give the same output."""
    module = build().eval()
    x = images(2, channels, 10, 7)
    with torch.no_grad():
        expected = module(x)
        close(
            module(x.contiguous(memory_format=torch.channels_last)), expected, 1e-4, "channels_last", "contiguous input"
        )
        wide = torch.cat([x, x], dim=3)[..., : x.shape[3]]
        close(module(wide), expected, 1e-4, "a slice of a wider image", "its contiguous copy")


def state_dict(build: Build, channels: int) -> None:
    """A second module with the first one's state dict, and a deep copy, give the same output."""
    module, other = build().eval(), build().eval()
    x = images(1, channels, 9, 9)
    other.load_state_dict(module.state_dict(), strict=True)
    with torch.no_grad():
        expected = module(x)
        if not torch.equal(other(x), expected):
            raise Failure("a module with the same state dict gives another output; register random numbers as a buffer")
        if not torch.equal(copy.deepcopy(module)(x), expected):
            raise Failure("a deep copy of the module gives another output")


def reference(build: Build, channels: int) -> None:
    """`attend` equals the reference implementation `reference`: output and gradients."""
    module: Any = build().eval()
    expected = getattr(module, "reference", None)
    if expected is None:
        raise Skipped("the mechanism has no reference implementation (method reference)")
    for height, width in SIZES:
        x = images(2, channels, height, width).requires_grad_()
        if hasattr(module, "attend"):
            inputs = module.embed(x)
            fast, slow = module.attend(*inputs, (height, width)), expected(*inputs, (height, width))
        else:
            fast, slow = module(x), expected(x)
        where = f"at {height}x{width} pixels"
        close(fast, slow, 2e-4, f"attend {where}", "reference")
        weighting = torch.randn(fast.shape, generator=generator(1))
        # through the embeddings: the gradient along the direction of a normalised query is arbitrary
        slopes = [torch.autograd.grad((out * weighting).sum(), x, retain_graph=True)[0] for out in (fast, slow)]
        close(slopes[0], slopes[1], 1e-3, f"gradient of attend {where}", "that of reference")


def approximation(build: Build, channels: int) -> str:
    """The output is measured against what the mechanism approximates, if it declares that."""
    module: Any = build().eval()
    if not (hasattr(module, "exact") and hasattr(module, "attend") and hasattr(module, "embed")):
        raise Skipped("the mechanism does not declare what it approximates (method exact)")
    x = images(1, channels, 48, 48)
    with torch.no_grad():
        inputs = module.embed(x)
        out, expected = module.attend(*inputs, (48, 48)), module.exact(*inputs, (48, 48))
    if not isinstance(expected, Tensor) or expected.shape != out.shape:
        shape = tuple(expected.shape) if isinstance(expected, Tensor) else type(expected).__name__
        raise Failure(f"exact returned {shape}, attend {tuple(out.shape)}: both must return (B, N, Cv)")
    finite(expected, "output of exact")
    distance, pooled = (
        ((y - expected).norm() / expected.norm().clamp_min(1e-12)).item()
        for y in (out, inputs[2].mean(1, keepdim=True))
    )
    advice = "trained features differ: measure them next, with python -m benchmarks.features"
    if distance > pooled:
        advice = (
            "mean pooling is closer: try more features, a smaller k, or fewer channels of query and key (reduction)"
        )
    return (
        f"untrained, on 48x48 random pixels, the output is {distance:.1%} away from what it approximates, and mean "
        f"pooling {pooled:.1%}; {advice}"
    )


def weights(build: Build, channels: int) -> None:
    """The attention map has one row for each requested position, without negative weights, with the sum 1."""
    module: Any = build().eval()
    if reason := why_not(module):
        raise Skipped(reason)
    for height, width in SIZES:
        x = images(2, channels, height, width)
        places = [(0, 0), (height // 2, width // 2), (height - 1, width - 1)]
        with torch.no_grad():
            if hasattr(module, "attention_map"):
                rows = torch.stack([attention_map(module, x, place).flatten(1) for place in places], dim=1)
            else:
                query, key, _ = module.embed(x)
                rows = module.weights_of(query, key, (height, width), [y * width + x for y, x in places])
        where = f"at {height}x{width} pixels"
        if rows.shape != (2, 3, height * width):
            raise Failure(
                f"weights_of gave {tuple(rows.shape)} for 2 images and 3 positions {where}, it must give "
                f"{(2, 3, height * width)}: (B, P, N)"
            )
        finite(rows, f"weights {where}")
        sums = rows.sum(-1)
        if rows.min() < 0 or (sums - 1).abs().max() > 1e-3:
            raise Failure(
                f"the weights have sums from {sums.min():.4g} to {sums.max():.4g} and the smallest is {rows.min():.4g} "
                f"{where}; weights must not be negative, and their sum must be 1"
            )


def _batch_statistics(module: nn.Module, x: Tensor) -> str | None:
    """A note where an image's output in training depends on its batch, or training changes what evaluation uses."""
    module = copy.deepcopy(module).train()
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
    names = _names(module, nn.modules.batchnorm._NormBase)
    outs = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for images_ in (x, x[:1]):
            torch.manual_seed(0)
            trained = copy.deepcopy(module)
            outs.append(trained(images_)[:1])
    if not _same(outs[0], outs[1]):
        return (
            f"in training, an image's output depends on the other images of its batch{names}: with batch statistics, "
            "results depend on the batch size, and evaluation, which uses none, computes something else"
        )
    before = dict(module.named_buffers())
    changed = [name for name, value in trained.named_buffers() if not torch.equal(value, before[name])]
    if changed:
        return (
            f"a training forward changes {', '.join(changed)}{names}: evaluation computes something else than training"
        )
    return None


def _randomness(module: nn.Module, x: Tensor) -> str | None:
    """A note where two training forwards of one image differ, as with dropout."""
    outs = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for _ in range(2):
            outs.append(copy.deepcopy(module).train()(x))
    if _same(outs[0], outs[1]):
        return None
    names = _names(module, nn.modules.dropout._DropoutNd)
    return f"two training forwards of the same image differ{names}, evaluation is without this randomness"


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)


def _names(module: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> str:
    """` (BatchNorm2d norm, BatchNorm2d body.1)`: the parts of a kind; blank where there is none."""
    parts = [f"{type(part).__name__} {name}".strip() for name, part in module.named_modules() if isinstance(part, kind)]
    return f" ({', '.join(parts)})" if parts else ""


def _attend_form(module: Any, x: Tensor) -> None:
    """Check the output of `attend` before the base class reshapes it to an image."""
    if not (hasattr(module, "attend") and hasattr(module, "embed")):
        return
    query, key, value = module.embed(x)
    out = module.attend(query, key, value, (x.shape[2], x.shape[3]))
    if not isinstance(out, Tensor):
        raise Failure(f"attend returned a {type(out).__name__}, it must return a tensor")
    if out.shape != value.shape:
        raise Failure(
            f"attend returned a tensor of shape {tuple(out.shape)}, value has {tuple(value.shape)}: (B, N, Cv)"
        )
