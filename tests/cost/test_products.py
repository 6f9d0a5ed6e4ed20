"""Matrix products that fvcore misses: every expected count is derived by hand here, at two sizes N."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from sisr.cost import measure, products

CPU = torch.device("cpu")
C = 8
ROOT = Path(__file__).parents[2]


class Function(nn.Module):
    """A function as a module, for the tracer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.part = function if isinstance(function, nn.Module) else None

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def operations(function: Callable[..., Any], *inputs: Tensor) -> measure.Operations:
    with torch.no_grad():
        return measure.count_operations(Function(function).eval(), *inputs)


class OwnProduct(torch.autograd.Function):
    """x xᵀ with a backward of its own; fvcore's tracer sees one Python call."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ x.mT

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (slopes[0] + slopes[0].mT) @ x


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    out = x
    for _ in range(2):
        out = torch.matmul(torch.matmul(x, out.mT), x)
    return out


def image(x: Tensor) -> Tensor:
    """(1, N, C) → (1, C, 2, N / 2)."""
    return x.mT.reshape(1, C, 2, -1)


def self_attention(**options: Any) -> Callable[[Tensor], Any]:
    attention = nn.MultiheadAttention(C, 2, batch_first=True).eval()
    return lambda x: attention(x, x, x, **options)


def complex_product(x: Tensor) -> Tensor:
    z = torch.complex(x, x)
    return (z @ z.mH).abs()


def layer(kind: type[nn.Module]) -> Callable[[Tensor], Any]:
    recurrent = kind(C, 4, batch_first=True).eval()
    return lambda x: recurrent(x)[0]


KINDS = [
    # in_proj C → 3C and out_proj C → C: 4 N C²; scores and weighted sum: N² C each
    ("multihead attention", self_attention(), lambda N: 4 * N * C * C + 2 * N * N * C),
    ("multihead attention, no weights", self_attention(need_weights=False), lambda N: 4 * N * C * C + 2 * N * N * C),
    (
        "transformer layer",
        nn.TransformerEncoderLayer(C, 2, 16, batch_first=True).eval(),
        # attention as above, the two layers C → 16 → C, and two norms at fvcore's five for an element
        lambda N: 4 * N * C * C + 2 * N * N * C + 2 * N * C * 16 + 2 * 5 * N * C,
    ),
    ("baddbmm", lambda x: torch.baddbmm(x.new_zeros(1, 1, 1), x, x.mT), lambda N: N * N * C),
    ("addbmm", lambda x: torch.addbmm(x.new_zeros(1, 1), x, x.mT), lambda N: N * N * C),
    ("cdist", lambda x: torch.cdist(x, x), lambda N: N * N * C),  # by a product of matrices above 25 rows
    ("cdist, p = 1", lambda x: torch.cdist(x, x, p=1.0), lambda N: N * N * C),
    ("pdist", lambda x: F.pdist(x[0]), lambda N: N * (N - 1) / 2 * C),
    ("tensordot", lambda x: torch.tensordot(x[0], x[0], dims=([1], [1])), lambda N: N * N * C),
    ("inner", torch.inner, lambda N: N * N * C),
    ("einsum", lambda x: torch.einsum("bnc,bmc->bnm", x, x), lambda N: N * N * C),
    ("linear", lambda x: F.linear(x, torch.ones(5, C), torch.ones(5)), lambda N: N * C * 5),
    ("matmul that repeats its first factor", lambda x: x[0] @ x.mT.repeat(3, 1, 1), lambda N: 3 * N * N * C),
    ("mv", lambda x: x[0] @ x[0, 0], lambda N: N * C),
    ("dot", lambda x: torch.dot(x.flatten(), x.flatten()), lambda N: N * C),
    ("addr", lambda x: torch.addr(x.new_zeros(1, 1), x[0, :, 0], x[0, :, 1]), lambda N: N * N),
    ("outer", lambda x: torch.outer(x[0, :, 0], x[0, :, 1]), lambda N: N * N),
    ("multi_dot", lambda x: torch.linalg.multi_dot([x[0], x[0].T, x[0]]), lambda N: 2 * N * C * min(N, C)),
    ("autograd.Function", OwnProduct.apply, lambda N: N * N * C),
    ("torch.jit.script", scripted, lambda N: 2 * (N * N * C + N * N * C)),
    ("vmap", torch.vmap(lambda x: x @ x.mT), lambda N: N * N * C),
    ("fused attention", F.scaled_dot_product_attention, lambda N: 2 * N * N * C),
    (
        "fused attention of grouped heads",
        lambda x: F.scaled_dot_product_attention(*(x[:, None].expand(1, n, -1, C) for n in (4, 2, 2)), enable_gqa=True),
        lambda N: 4 * 2 * N * N * C,
    ),
    ("complex product", complex_product, lambda N: 4 * N * N * C),
    ("grouped convolution", lambda x: F.conv2d(image(x), torch.ones(6, C // 2, 3, 3), padding=1, groups=2),
     lambda N: N * 6 * C // 2 * 9),
    ("depthwise convolution", lambda x: F.conv2d(image(x), torch.ones(C, 1, 3, 3), padding=1, groups=C),
     lambda N: N * C * 9),
    # each input pixel is multiplied with every kernel of its group
    ("transposed convolution", lambda x: F.conv_transpose2d(image(x), torch.ones(C, 3, 3, 3), stride=2),
     lambda N: N * C * 3 * 9),
    ("grouped transposed convolution", lambda x: F.conv_transpose2d(image(x), torch.ones(C, 3, 3, 3), groups=2),
     lambda N: N * C * 3 * 9),
    # four gates, three gates: C → 4 and 4 → 4 for each
    ("LSTM", layer(nn.LSTM), lambda N: N * 4 * 4 * (C + 4)),
    ("GRU", layer(nn.GRU), lambda N: N * 3 * 4 * (C + 4)),
    # W x and then the dot product with the other
    ("bilinear", lambda x: F.bilinear(x, x, torch.ones(3, C, C)), lambda N: N * 3 * (C * C + C)),
    # a product that is written as a multiplication and a sum
    ("written out", lambda x: (x[:, :, None] * x[:, None]).sum(-1), lambda N: N * N * C),
    # every pixel with nine neighbours, which are views of one padded row
    ("local attention", lambda x: (x[:, :, None] * F.pad(x, (0, 0, 4, 4)).unfold(1, 9, 1).mT).sum(-1),
     lambda N: N * 9 * C),
    # 5 N log₂ N operations for N complex points, half for real ones; two are one multiply-add
    ("fft", lambda x: torch.fft.fft(torch.complex(x, x), dim=1).abs(), lambda N: C * 2.5 * N * np.log2(N)),
    ("fft, real", lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1), n=x.shape[1], dim=1),
     lambda N: 2 * C * 1.25 * N * np.log2(N)),
    ("fft, two dimensions", lambda x: torch.fft.fft2(torch.complex(x, x)).abs(),
     lambda N: 2.5 * N * C * np.log2(N * C)),
]  # fmt: skip


@pytest.mark.parametrize("N", [6, 40])
@pytest.mark.parametrize(("function", "expected"), [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS])
def test_every_product_is_counted(function: Callable[..., Any], expected: Callable[[int], float], N: int) -> None:
    x = torch.rand(1, N, C)
    inputs = (x, x, x) if function is F.scaled_dot_product_attention else (x, x) if function is torch.inner else (x,)
    counted = operations(function, *inputs)
    assert counted.multiply_adds == pytest.approx(expected(N), rel=1e-12)
    assert counted.at_least == ""


sizes = st.integers(1, 5)


@settings(max_examples=20)
@given(sizes, sizes, st.integers(2, 5), sizes, st.sampled_from([torch.float32, torch.float64, torch.complex64]))
def test_products_of_any_shape(B: int, n: int, k: int, m: int, dtype: torch.dtype) -> None:
    a, b = torch.ones(B, n, k, dtype=dtype), torch.ones(B, k, m, dtype=dtype)
    weight = 4 if dtype.is_complex else 1
    for call in (lambda: a @ b, lambda: torch.einsum("bnk,bkm->bnm", a, b), lambda: torch.baddbmm(a @ b, a, b)):
        calls = 2 if "baddbmm" in call.__code__.co_names else 1
        found = products.count(call)
        assert found.total == calls * B * n * k * m * weight
        assert found.at_least == ()


def test_a_deformable_convolution_costs_what_a_convolution_does() -> None:
    torchvision = pytest.importorskip("torchvision")
    x, weight = torch.rand(1, 4, 6, 7), torch.rand(3, 4, 3, 3)
    found = products.count(lambda: torchvision.ops.deform_conv2d(x, torch.rand(1, 18, 4, 5), weight))
    assert found.total == 3 * 4 * 5 * 4 * 9
    assert found.at_least == ()


def test_a_compiled_part_is_counted_as_written() -> None:
    compiled = torch.compile(lambda x: torch.relu(x @ x.mT))
    found = products.count(lambda: compiled(torch.rand(1, 6, C)))
    assert (found.total, found.at_least) == (6 * 6 * C, ())


def test_elementwise_operators_stay_free() -> None:
    x, y = torch.rand(1, 6, C), torch.rand(1, 6, C)
    found = products.count(
        lambda: (
            x * y, x / y, torch.exp(x), x.softmax(-1), x * 2, x.sum(), torch.cat([x, y]), torch.where(x > 0, x, y),
            F.layer_norm(x, (C,), y[0, 0], y[0, 1]), F.group_norm(x, 2, torch.ones(6)), torch.lerp(x, y, x), x.mT + 1,
            F.batch_norm(x, torch.ones(6), torch.ones(6)), x.index_add(1, torch.tensor([0]), y[:, :1]), (x * x).sum(),
            F.grid_sample(x[:, None], torch.zeros(1, 2, 2, 2), align_corners=False),
            F.normalize(x), torch.maximum(x, y), x.topk(2).values,
            F.interpolate(x[:, None], scale_factor=2, mode="bicubic"), F.dropout(x, 0.5, True), x.addcmul(x, y),
            F.pixel_shuffle(image(x), 2), F.unfold(image(x), 2), x.roll(1, 1), (x * y[:, :, :1]).flatten(1),
        )
    )  # fmt: skip
    assert found == products.Products({}, ())


def test_a_small_product_that_is_written_out_leaves_fvcores_count() -> None:
    """0.1 % of the whole, as in the sum over the rounds of NLSA: it stays elementwise."""
    x = torch.rand(1, 40, C)
    counted = operations(lambda x: (x @ torch.ones(C, 1000)).sum() + (x[..., :1] * x).sum(), x)
    assert (counted.multiply_adds, counted.counter) == (40 * C * 1000, "fvcore")


@torch.library.custom_op("sisr_test::product", mutates_args=())
def foreign(x: Tensor) -> Tensor:
    return x @ x.mT


class InNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = x.numpy()
        return torch.from_numpy(rows @ rows.swapaxes(1, 2))


def as_array(x: Tensor) -> Tensor:
    rows = np.asarray(x)
    return torch.from_numpy(rows @ rows.swapaxes(1, 2)) + 0


def by_pointer(x: Tensor) -> Tensor:
    out = x.clone()
    ctypes.memset(out.data_ptr(), 0, 4)
    return out


def filled_elsewhere(x: Tensor) -> Tensor:
    """As with a kernel that writes into memory that torch only allocated."""
    out = torch.empty(x.shape)
    return out + x


@pytest.mark.parametrize(
    ("function", "at_least"),
    [
        (foreign, "sisr_test::product"),
        (InNumpy.apply, "Tensor.numpy"),
        (as_array, "Tensor.numpy"),
        (by_pointer, "Tensor.data_ptr"),
        (filled_elsewhere, products.OUTSIDE),
        (lambda x: torch.empty_like(x), products.OUTSIDE),
        (lambda x: torch.linalg.svdvals(x), "_linalg_svd"),
        (lambda x: torch.linalg.matrix_exp(x @ x.mT), "linalg_matrix_exp"),
        (lambda x: x[0].to_sparse() @ x[0].mT, "mm (sparse)"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__),
)
def test_what_cannot_be_counted_is_named(function: Callable[..., Any], at_least: str) -> None:
    counted = operations(lambda x: (x @ torch.ones(C, 2), function(x))[1], torch.rand(1, 6, C))
    assert counted.at_least == at_least
    assert counted.multiply_adds >= 6 * C * 2  # what can be counted is


def test_memory_that_an_operator_writes_is_no_foreign_code() -> None:
    def call() -> Tensor:
        out = torch.empty(1, 6, 6)
        for row in range(6):
            out[:, row].copy_(x[:, row] @ x[0].mT)
        return torch.empty(0) if out.isnan().any() else out.add_(torch.empty_like(out).fill_(1.0))

    x = torch.rand(1, 6, C)
    assert products.count(call) == products.Products({"mm": 6 * 6 * C}, ())


def test_a_custom_operator_with_a_formula_is_counted() -> None:
    from torch.utils.flop_counter import flop_registry, register_flop_formula

    @torch.library.custom_op("sisr_test::with_formula", mutates_args=())
    def product(x: Tensor) -> Tensor:
        return x @ x.mT

    packet = torch.ops.sisr_test.with_formula
    register_flop_formula(packet)(lambda shape, *, out_shape=None: 2 * shape[0] * shape[1] ** 2 * shape[2])
    try:
        assert products.count(lambda: product(torch.rand(1, 6, C))) == products.Products(
            {"sisr_test::with_formula": 6 * 6 * C}, ()
        )
    finally:
        del flop_registry[packet]


def test_a_small_inverse_is_negligible_and_a_large_one_is_named() -> None:
    x = torch.rand(1, 40, C)
    assert products.count(lambda: (torch.linalg.inv(torch.eye(3)), x @ torch.ones(C, 5000))).at_least == ()
    assert products.count(lambda: (torch.linalg.inv(torch.eye(64)), x @ x.mT)).at_least == ("linalg_inv_ex",)


def test_a_call_that_fails_under_the_counter_gives_a_lower_bound() -> None:
    def call() -> None:
        x = torch.rand(1, 6, C)
        x @ x.mT
        raise NotImplementedError("no rule for this mode")

    found = products.count(call)
    assert found == products.Products({"bmm": 6 * 6 * C}, ("what follows a NotImplementedError of the counter",))


def test_where_fvcore_cannot_trace_the_products_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no trace")

    monkeypatch.setattr(measure, "count", fails)
    counted = operations(lambda x: x @ x.mT, torch.rand(1, 6, C))
    assert (counted.fvcore, counted.multiply_adds, counted.counter) == (None, 6 * 6 * C, "operators")


def test_the_fast_path_is_restored() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    products.count(lambda: torch.backends.mha.set_fastpath_enabled(False))
    assert torch.backends.mha.get_fastpath_enabled() is before


COMMITTED = pd.read_csv(ROOT / "results" / "reference" / "quick" / "complexity" / "table4.csv").to_dict("records")
LARGE = ("nla", "nlsa:rounds=2", "nlsa:rounds=4", "nlsa:rounds=8")


@pytest.mark.parametrize(
    "row",
    [pytest.param(r, id=r["spec"], marks=[pytest.mark.slow] if r["spec"] in LARGE else []) for r in COMMITTED],
)
def test_committed_counts_stay_to_the_digit(row: dict[str, Any]) -> None:
    subject = measure.build(row["spec"], 64, (row["height"], row["width"]), 64, CPU)
    with torch.no_grad():
        whole = measure.count_operations(subject.module, subject.input)
        core, *_ = measure._core(subject, whole)
    assert core
    assert (whole.multiply_adds / 1e9, core.multiply_adds / 1e9) == (row["fvcore_gmacs"], row["core_gmacs"])
    assert (whole.counter, whole.at_least, core.counter, core.at_least) == ("fvcore", "", "fvcore", "")


@pytest.mark.parametrize(
    "spec", ["edsr:scale=2,blocks=1,channels=8", "enlcn:scale=2,blocks=4,channels=16", "lapsrn:scale=4"]
)
def test_networks_are_counted_completely_and_as_by_fvcore(spec: str) -> None:
    subject = measure.build(spec, 64, (12, 10), 64, CPU)
    with torch.no_grad():
        counted = measure.count_operations(subject.module, subject.input)
    assert counted.fvcore
    assert (counted.multiply_adds, counted.counter, counted.at_least) == (sum(counted.fvcore.values()), "fvcore", "")
