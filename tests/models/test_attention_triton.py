"""The Triton kernels against the plain core, in Triton's interpreter, so that no GPU is needed."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

SCRIPT = """
import math, torch
from torch.nn import functional as F
from models.attention.enla import random_feature_attention, reference_attention
from models.attention import enla_triton
from models.attention.enla_triton import fused_attention
from models.attention._projection import draw_projection

torch.manual_seed(0)
enla_triton.SHARES = 2  # so that a share has more than one tile
sizes = [(1, 64, 16, 16, 16, 6.0), (2, 150, 20, 70, 33, 1.0), (1, 1, 16, 8, 128, 6.0), (1, 200, 64, 64, 128, 6.0)]
for B, N, width, columns, m, k in sizes:
    query, key = (F.normalize(torch.randn(B, N, width), dim=-1) * math.sqrt(k) for _ in range(2))
    value, projection = torch.randn(B, N, columns), draw_projection(m, width)
    exact = reference_attention(query.double(), key.double(), value.double(), projection.double())
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.02)):
        out = fused_attention(query.to(dtype), key.to(dtype), value.to(dtype), projection, k)
        assert out.dtype == dtype and out.shape == value.shape
        error = ((out.double() - exact).norm() / exact.norm()).item()
        print(B, N, width, columns, m, k, dtype, error)
        assert error < tolerance, error
"""


def test_kernels_equal_the_reference():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # read when the kernels are imported: hence a new process
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from models.attention import enla_triton

for element, split in (("fp32", False), ("bf16", True)):
    for kernel in (enla_triton._context_kernel, enla_triton._output_kernel):
        tiles = {"TOKENS": 64 if split else 32, "M": 128, "WIDTH": 64, "COLUMNS": 64, "SPLIT": split, "WIDEN": False}
        float32 = {"normaliser"} | ({"context"} if kernel is enla_triton._context_kernel else set())
        tensors = {"key", "value", "high", "low", "query", "context", "normaliser", "out"}
        signature = {}
        for name in kernel.arg_names:
            if name in tiles:
                signature[name] = "constexpr"
            elif name in tensors:
                signature[name] = "*fp32" if name in float32 else "*" + element
            else:
                signature[name] = "fp32" if name == "epsilon" else "i32"
        constants = {(kernel.arg_names.index(name),): value for name, value in tiles.items()}
        compiled = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
        assert compiled.metadata.shared <= 99 * 1024, compiled.metadata.shared
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu():
    """As far as PTX, which needs no GPU; it says nothing about speed."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
