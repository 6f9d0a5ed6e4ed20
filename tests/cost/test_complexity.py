"""Operations, memory and time of mechanisms and networks; every expected count is derived by hand here."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import attention
from sisr.cli import main
from sisr.config import declared
from sisr.cost import measure, op_counters
from sisr.cost.timing import peak_memory, quartiles, take_turns
from sisr.utils.errors import UsageError

CPU = torch.device("cpu")
N = 100 * 100
sizes = st.integers(1, 6)


class Function(nn.Module):
    """A function as a module, for the tracer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def counted(function: Callable[..., Tensor], *inputs: Tensor) -> dict[str, float]:
    return measure.count(Function(function), *inputs)[0]


@settings(max_examples=15)
@given(sizes, sizes, sizes, sizes, sizes, sizes)
def test_fused_attention_is_two_products(B: int, heads: int, L: int, S: int, E: int, Ev: int) -> None:
    query, key, value = torch.rand(B, heads, L, E), torch.rand(B, heads, S, E), torch.rand(B, heads, S, Ev)
    found = counted(nn.functional.scaled_dot_product_attention, query, key, value)
    assert found["scaled_dot_product_attention"] == B * heads * (L * S * E + L * S * Ev)


x = torch.rand(3, 5, 7)


@pytest.mark.parametrize(
    ("operator", "function", "expected"),
    [
        ("exp", torch.exp, 105),
        ("softmax", lambda x: torch.softmax(x, -1), 3 * 105),
        ("logsumexp", lambda x: torch.logsumexp(x, -1), 2 * 105),
        ("sum", lambda x: x.sum(1), 105),
        ("argmax", lambda x: x.argmax(-1), 105),
        ("sort", lambda x: x.sort(dim=1).values, 105 * 3),  # rows of 5: ⌈log₂ 5⌉ = 3
        ("sort", lambda x: x.sort().values, 105 * 3),  # rows of 7: ⌈log₂ 7⌉ = 3
        ("argsort", lambda x: x.argsort(dim=0, stable=True), 105 * 2),  # rows of 3: ⌈log₂ 3⌉ = 2
        ("topk", lambda x: x.topk(4).values, 105 + 3 * 5 * 4 * 2),  # 15 rows of 4: ⌈log₂ 4⌉ = 2
        ("topk", lambda x: x.topk(1, dim=1).values, 105),
        ("gather", lambda x: x.gather(2, torch.zeros(3, 5, 2, dtype=torch.long)), 30),
        ("linalg_vector_norm", lambda x: torch.linalg.vector_norm(x, dim=1), 2 * 105),
    ],
)
def test_operations_that_are_no_multiply_adds(operator: str, function: Callable[..., Tensor], expected: int) -> None:
    assert counted(function, x)[operator] == expected
    assert f"aten::{operator}" in op_counters.OPERATIONS


def test_what_is_not_counted_is_listed() -> None:
    found, uncounted = measure.count(Function(lambda x: torch.erfinv(x) * 2), x)
    assert sum(found.values()) == 0
    assert uncounted == {"aten::erfinv": 1, "aten::mul": 1}


@pytest.mark.parametrize(
    ("name", "options", "printed"),
    [
        ("nla", {}, "25.60"),
        ("convolution", {"kernel": 3}, "0.74"),
        ("enlca", {"m": 8}, "0.04"),
        ("enlca", {"m": 16}, "0.08"),
        ("enlca", {"m": 32}, "0.16"),
        ("enlca", {"m": 64}, "0.33"),
        ("enlca", {"m": 128}, "0.66"),
        ("enlca", {"m": 256}, "1.32"),
    ],
)
def test_the_papers_convention_to_the_printed_digit(name: str, options: dict[str, int], printed: str) -> None:
    flops, _ = attention.create(name, 64, **options).paper_flops(N, 64, 64)
    assert f"{flops / 1e9:.2f}" == printed


@pytest.mark.parametrize("rounds", [1, 2, 4, 8])
def test_nlsa_is_our_own_count_and_says_so(rounds: int) -> None:
    flops, formula = attention.create("nlsa", 64, rounds=rounds, chunk=144).paper_flops(N, 64, 64)
    # every pixel meets 3·144 others: 2·10000·432·(64+64) = 1.10592e9; 10000 // 144 = 69, made even 70 buckets, of which
    # half are directions: 2·10000·64·35 = 0.0448e9
    assert flops / 1e9 == pytest.approx(rounds * (1.10592 + 0.0448))
    assert "not the paper's" in formula


def test_a_mechanism_that_the_paper_does_not_have_is_blank_with_a_reason() -> None:
    subject = measure.build("none", 64, (8, 8), 64, CPU)
    assert measure.paper_gflops(subject, 64, 64) == (None, "the paper has no formula for none")


def test_committed_costs_are_those_of_the_mechanisms():
    """Where this fails, `python -m sisr models --recount` writes the table."""
    counted = {name: measure.mechanism_cost(name) for name in attention.available()}
    assert declared.costs() == {
        name: (pytest.approx(gflops, rel=1e-5), count) for name, (gflops, count) in counted.items()
    }
    assert counted["enla"][0] == pytest.approx(0.66, abs=0.005)  # printed in the paper's Table 4


def row(spec: str, channels: int = 64, size: tuple[int, int] = (20, 30), embedding: int = 64) -> dict[str, Any]:
    return measure.measure_cost(measure.build(spec, channels, size, embedding, CPU), seconds=1e-3)


def test_enlca_core_is_what_the_formula_says() -> None:
    found = row("enlca:m=32", size=(20, 30))
    n, m, c = 600, 32, 64
    # F·Q and F·K: 2·m·n·c; φ(K)ᵀV and φ(Q)·that: 2·m·n·c; the normaliser φ(Q)·(φ(K) 1): m·n, and once more where its
    # sum φ(K) 1 is a product with ones
    normaliser = found["core_gmacs"] * 1e9 - (2 * m * n * c + 2 * m * n * c)
    assert normaliser == pytest.approx(m * n) or normaliser == pytest.approx(2 * m * n)
    assert 2 * found["core_gmacs"] == pytest.approx(found["paper_gflops"], rel=0.005)
    # one exp a feature of every query and key
    operations = json.loads(found["operations_by_operator"])
    assert operations.get("exp", 0) + operations.get("exp_", 0) == 2 * m * n
    # three 1x1 embeddings of 64 to 64 channels
    assert (found["fvcore_gmacs"] - found["core_gmacs"]) * 1e9 == pytest.approx(3 * n * c * c)
    assert found["parameters"] == 3 * (c * c + c)


def test_nla_and_convolution_are_exactly_the_formula() -> None:
    n, c = 600, 64
    nla = row("nla")
    assert nla["core_gmacs"] * 1e9 == 2 * n * n * c
    assert nla["paper_gflops"] == pytest.approx(2 * nla["core_gmacs"])
    convolution = row("convolution")
    assert convolution["fvcore_gmacs"] * 1e9 == 9 * c * c * n
    assert convolution["core_gmacs"] == convolution["fvcore_gmacs"]
    assert convolution["paper_gflops"] == pytest.approx(2 * convolution["core_gmacs"])


def test_nlsa_core_is_close_to_our_count() -> None:
    found = row("nlsa:rounds=2", size=(24, 24))  # 576 pixels: four chunks of 144, no padding
    n, c, rounds = 576, 64, 2
    # four buckets, two directions a round
    assert found["core_gmacs"] * 1e9 == rounds * (n * 432 * 2 * c + n * c * 2)
    assert found["paper_gflops"] == pytest.approx(2 * found["core_gmacs"])
    assert json.loads(found["operations_by_operator"])["argsort"] == rounds * n * 10  # ⌈log₂ 576⌉ = 10


@pytest.mark.parametrize("spec", ["convolution", "enlca:m=32", "nlsa:rounds=1"])
def test_torch_counts_the_same(spec: str) -> None:
    found = row(spec)
    assert found["torch_gflops"] == pytest.approx(2 * found["fvcore_gmacs"])


def test_query_and_key_have_64_channels_unless_asked_otherwise() -> None:
    # Table 4 compares cores of width 64 at 64 channels, ENLCN has 64 at 256
    assert measure.build("enla", 64, (8, 8), 64, CPU).options["reduction"] == 1
    assert measure.build("enla", 256, (8, 8), 64, CPU).options["reduction"] == 4
    assert measure.build("enla:reduction=8", 64, (8, 8), 64, CPU).options["reduction"] == 8
    assert measure.build("enla", 16, (8, 8), 64, CPU).options["reduction"] == 1
    assert "c = 64, c_out = 256" in row("enlca:m=8", channels=256, size=(4, 4))["paper_convention"]


def test_a_network_is_counted_whole() -> None:
    found = row("edsr:scale=2,blocks=1,channels=8", size=(10, 12))
    n = 120
    # head 3→8, two in the block, one after the body: 8→8; upsampler 8→32; tail 8→3 on four times the pixels
    kernels = 3 * 8 + 3 * 8 * 8 + 8 * 32 + 4 * (8 * 3)
    assert json.loads(found["fvcore_by_operator"])["conv"] == pytest.approx(9 * kernels * n, rel=0.02)
    assert found["kind"] == "network"
    assert found["core_gmacs"] is None
    assert found["paper_gflops"] is None


@pytest.mark.slow
def test_enlcn_at_the_papers_size() -> None:
    subject = measure.build("enlcn:scale=4", 64, (100, 100), 64, CPU)
    with torch.no_grad():
        found, _ = measure.count(subject.module, subject.input)
    multiply_adds = sum(value for name, value in found.items() if f"aten::{name}" not in op_counters.OPERATIONS)
    # 511.55 with the released modules; how the normaliser is summed makes 5 · 128 · 10000 = 0.006 of a difference
    assert multiply_adds / 1e9 == pytest.approx(511.55, abs=0.02)
    assert sum(p.numel() for p in subject.module.parameters() if p.requires_grad) == 43_583_363


def test_calls_take_turns_and_the_rounds_after_the_warm_up_are_timed() -> None:
    order: list[str] = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = take_turns(calls, CPU, rounds=4, warm_up=3)
    assert order == ["a", "b"] * 7
    assert [len(values) for values in times.values()] == [4, 4]
    assert all(len(values) == 3 for values in take_turns(calls, CPU, seconds=0).values())  # the fewest
    assert quartiles([4.0, 1.0, 2.0, 3.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_peak_memory_is_the_most_that_is_held_at_once() -> None:
    start = torch.zeros(250_000)  # 1 MB, there before

    def forward() -> Tensor:
        first = start + 1  # 1 MB
        second = torch.cat([first, first])  # 3 MB in all: the peak
        del first
        return second[:10].clone()

    peak = peak_memory(forward, CPU)
    assert 3_000_000 <= peak < 3_010_000


@pytest.mark.parametrize("spec", ["", "enlca:", "enlca:m=", "enlca:m=1,m=2", "enlca:n=3", "enlka", "enlca:m=0"])
def test_wrong_specs_are_one_sentence(spec: str) -> None:
    with pytest.raises(UsageError) as error:
        measure.build(spec, 64, (8, 8), 64, CPU)
    assert "\n" not in str(error.value)


def test_command_writes_one_row_a_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "complexity" / "table4.csv"
    words = ["convolution", "enlca:m=8", "none", "--size", "8", "8", "--seconds", "0.001", "--output", str(file)]
    assert main(["complexity", *words, "--device", "cpu", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == measure.COLUMNS
    assert [each["spec"] for each in rows] == ["convolution", "enlca:m=8", "none"]
    assert float(rows[1]["fvcore_gmacs"]) == shown[1]["fvcore_gmacs"]
    for each in rows:
        assert float(each["seconds_low"]) <= float(each["seconds_median"]) <= float(each["seconds_high"])
    assert main(["complexity", "enlca:m=0"]) == 2
    assert main(["complexity", "enlca", "--size", "0", "8"]) == 2
