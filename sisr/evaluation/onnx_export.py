"""Export of networks to ONNX, checked against PyTorch."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import atomic_write

OPSET = 18
"""Version of ONNX's operators; onnxruntime 1.14 (2023) and later run it."""
TOLERANCE = 1e-4
"""Largest difference between onnxruntime and PyTorch, for values in [0, 1]."""
TRACED = (24, 32)
"""Height and width of the image that the network is traced with."""
CHECKED = ((24, 32), (19, 45), (61, 47))
"""Sizes at which both are compared: not divisible by any window or stride, and with more pixels than one chunk."""

_NODE = re.compile(r"ONNXRuntimeError.*while running (\w+) node")


@dataclass(frozen=True)
class Export:
    """An exported network."""

    path: Path
    difference: float
    """Largest difference from PyTorch at the sizes `CHECKED`."""
    formulas: str
    """`as executed`, or `reference` where attention is exported by its reference implementation."""


def packages() -> tuple[ModuleType, ModuleType]:
    """The modules onnx and onnxruntime. Raises UsageError, with the command to install them, if one is missing."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx imports it)
    except ImportError as error:
        raise UsageError(
            f"export needs the package {error.name}; install the optional packages with "
            "pip install 'sisr-attention-bench[onnx]'."
        ) from error
    return onnx, onnxruntime


def export(model: nn.Module, path: Path) -> Export:
    """Write a network as ONNX, float32, with free height and width, if onnxruntime gives the same as PyTorch.

    The input `lr` is (1, 3, height, width), RGB in [0, 1], the output `sr` is (1, 3, scale·height, scale·width), not
    clamped. Attention whose fast form depends on the image size in a way that ONNX does not have is exported by its
    reference implementation, which computes the same values.

    Raises SisrError, with the reason, where the network cannot be exported or the values differ by more than
    `TOLERANCE`; nothing is written then. A module that cannot be exported states the reason in the attribute `no_onnx`.
    """
    onnx, onnxruntime = packages()
    onnxruntime.set_default_logger_severity(4)  # what is wrong is in the error
    model = model.eval().cpu()
    if reason := next((module.no_onnx for module in model.modules() if hasattr(module, "no_onnx")), ""):
        raise SisrError(f"{_name(model)} cannot be exported to ONNX: {reason}.")
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(1, 3, height, width, generator=generator) for height, width in CHECKED]
    with torch.inference_mode():
        expected = [model(lr) for lr in inputs]
    reasons = []
    for formulas, dynamo in (("as executed", False), ("reference", False), ("as executed", True)):
        try:
            content = _content(model, formulas, dynamo)
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            difference = max(_difference(session, *pair) for pair in zip(inputs, expected, strict=True))
        except Exception as error:  # the exporters and onnxruntime raise exceptions of many types
            reasons.append(_reason(error))
            continue
        if difference <= TOLERANCE:
            described = onnx.load_from_string(content)
            config = json.dumps(getattr(model, "config", {}))
            onnx.helper.set_model_props(described, {"sisr": config, "input": "RGB in [0, 1]"})
            with atomic_write(path) as temporary:
                onnx.save(described, temporary)
            return Export(path, difference, formulas)
        reasons.append(f"its values would differ by up to {difference:.2g} at another size")
    raise SisrError(f"{_name(model)} cannot be exported to ONNX: {reasons[0]}.")


def _content(model: nn.Module, formulas: str, dynamo: bool) -> bytes:
    """The network as an ONNX file."""
    lr = torch.rand(1, 3, *TRACED, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"input_names": ["lr"], "output_names": ["sr"], "opset_version": OPSET, "dynamo": dynamo}
    if dynamo:
        free = torch.export.Dim.DYNAMIC
        options |= {"dynamic_shapes": ({2: free, 3: free},), "verbose": False}
    else:
        names = {2: "height", 3: "width"}
        options |= {"dynamic_axes": {"lr": names, "sr": {axis: f"sr_{name}" for axis, name in names.items()}}}
    file = io.BytesIO()
    with _quiet(), _formulas(model, formulas), torch.no_grad():
        # without dynamo, a file object is accepted as well
        program = torch.onnx.export(model, (lr,), None if dynamo else file, **options)  # type: ignore[arg-type]
    return program.model_proto.SerializeToString() if dynamo else file.getvalue()  # type: ignore[union-attr]


@contextmanager
def _formulas(model: nn.Module, formulas: str) -> Iterator[None]:
    """Let attention modules compute by their reference implementation."""
    replaced = []
    if formulas == "reference":
        replaced = [each for each in model.modules() if hasattr(each, "attend") and hasattr(each, "reference")]
        if not replaced:
            raise SisrError("it has no other implementation")
    for module in replaced:
        module.attend = module.reference
    try:
        yield
    finally:
        for module in replaced:
            del module.attend


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' output; what is wrong is in the exception."""
    before = logging.root.manager.disable
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _difference(session: Any, lr: Tensor, expected: Tensor) -> float:
    size = tuple(lr.shape[2:])
    try:
        result = torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])
        if result.shape != expected.shape:
            raise ValueError(f"its output would be {tuple(result.shape)} instead of {tuple(expected.shape)}")
    except Exception as error:
        if size == TRACED:
            raise
        raise SisrError(
            f"its operations depend on the image size: traced at {TRACED[0]} x {TRACED[1]}, they fail at "
            f"{size[0]} x {size[1]} ({_reason(error)})"
        ) from None
    difference = (result - expected).abs().max().item()
    return difference if difference == difference else float("inf")


def _reason(error: Exception) -> str:
    """The first line of the first cause."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    if node := _NODE.search(line):
        line = f"onnxruntime cannot run {node[1]}"
    return line.strip().rstrip(".")[:200]


def _name(model: nn.Module) -> str:
    config = getattr(model, "config", {})
    attention = config.get("attention")
    return str(config.get("name", type(model).__name__)) + (f" with {attention}" if attention else "")
