"""The benchmark of all mechanisms: where it ends, what it expects, and that its table states both."""

import importlib
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import mechanisms
from benchmarks.mechanisms import Growth, expected, forward, measure
from sisr.cost.measure import Subject, gradient_step

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {12: (3, 4), 48: (6, 8), 192: (12, 16)}
    monkeypatch.setattr(mechanisms, "SIZES", sizes)


@pytest.mark.parametrize(
    ("points", "value"),
    [
        ({}, 0.0),
        ({10: 2.0}, 8.0),
        ({10: 2.0, 20: 8.0}, 8.0 * 4),
        ({10: 2.0, 20: 4.0}, 8.0),
        ({10: 2.0, 20: 1.0}, 2.0),  # at least linear
        ({5: 9.0, 20: 8.0, 10: 1.0}, 64.0),  # the two largest
    ],
)
def test_expected_values_follow_the_growth(points: dict[int, float], value: float) -> None:
    assert expected(points, 40) == pytest.approx(value)


@pytest.mark.parametrize("make", [forward, gradient_step])
def test_every_named_mechanism_is_measured(make: object) -> None:
    measured = measure(["none", "linear", "nla", "enlca"], [48, 192], make, CPU, repeats=2, limit=60, seconds=0.1)
    assert len(measured) == 8
    assert (measured["milliseconds"] >= measured["fastest_milliseconds"]).all()
    assert (measured["note"] == "").all()
    linear = measured[measured["method"] == "linear"].set_index("tokens")["megabytes"]
    assert 3 < linear[192] / linear[48] < 4.5


def test_a_mechanism_ends_where_a_pass_is_too_long_or_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = {"linear": (0.1, 0.4, 1.6), "nla": (0.1, 1.6, 25.6), "efficient": (20.0,)}

    def settled(call: object, device: torch.device) -> float:
        return durations[call.name][list(mechanisms.SIZES).index(call.tokens)]  # type: ignore[attr-defined]

    class Pass:
        def __init__(self, subject: Subject) -> None:
            self.name, self.tokens = subject.name, subject.input.shape[2] * subject.input.shape[3]

        def __call__(self) -> None:
            if self.name == "pyramid":
                raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(mechanisms, "settled", settled)
    monkeypatch.setattr(mechanisms, "peak_memory", lambda call, device: 1e6 * call.tokens)
    measured = measure(list(durations), [12, 48, 192], Pass, CPU, repeats=1, limit=10, seconds=0)
    notes = {name: rows["note"].tolist() for name, rows in measured.groupby("method")}
    assert notes == {
        "linear": ["", "", ""],
        "nla": ["", "", "more than 10 s expected (about 26 s)"],
        "efficient": ["more than 10 s"],
    }
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    shown = importlib.import_module("docs_blocks").over_tokens(measured.assign(exponent=1.25))
    assert shown.count("N^1.25") == 3
    assert "more than 10 s expected (about 26 s)" in shown
    monkeypatch.setattr(mechanisms, "settled", lambda call, device: call() or 0.1)
    monkeypatch.setattr(mechanisms, "available", lambda device: 100e6)
    measured = measure(["linear", "pyramid"], [12, 48, 192], Pass, CPU, repeats=1, limit=10, seconds=0)
    notes = {name: rows["note"].tolist() for name, rows in measured.groupby("method")}
    assert notes["pyramid"] == ["not enough memory"]
    assert notes["linear"][2] == "not enough memory (about 0.2 GB expected, 0.1 GB free)"


def test_free_memory_and_time_are_compared_with_what_is_expected() -> None:
    growth = Growth(seconds={5: 0.25, 10: 1.0}, memory={5: 0.25e9, 10: 1e9})
    assert growth.excess(20, limit=5, free=5e9) == ""
    assert growth.excess(20, limit=3, free=5e9).startswith("more than 3 s expected (about 4 s)")
    assert "4.0 GB expected" in growth.excess(20, limit=5, free=3e9)


def test_the_table_and_the_exponents_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--tokens", "12", "48", "--names", "none", "efficient", "--repeats", "1", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["mechanisms", *words])
    mechanisms.main()
    for name in ("mechanisms", "mechanisms_training"):
        written = pd.read_csv(tmp_path / f"{name}.csv")
        assert set(written["method"]) == {"none", "efficient"}
        assert {"milliseconds", "megabytes", "exponent", "note", "device"} <= set(written)
        assert (tmp_path / f"{name}.png").is_file()
    assert "time grows with N to the power" in capsys.readouterr().out
