"""What a comparison plans, refuses, reads and prints."""

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from sisr.cli import main
from sisr.comparison import select_runs
from sisr.comparison import table as compare
from sisr.comparison.table_view import view
from sisr.config import mechanisms
from sisr.config.mechanisms import Mechanism
from sisr.config.presets import Plan, known_attention, plan
from sisr.cost import by_size as series
from sisr.cost import measure
from sisr.results import cells, significance
from sisr.results.runs import load
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256
from tests.helpers import results_folder

ROOT = Path(__file__).parents[2]
KNOWN = list(known_attention())
OWN = """
from torch import nn


class MyAttention(nn.Module):
    def __init__(self, channels, *, strength=1.0):
        super().__init__()
        self.strength = strength

    def forward(self, x):
        return x * self.strength
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A mechanism in a file of the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    return "mine.py:MyAttention"


def planned(root: Path = ROOT, **changes: Any) -> Plan:
    """The plan of the preset quick with changes."""
    config = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
    return plan(copy.deepcopy(config | changes), root)


def test_runs_are_shared_with_the_tables() -> None:
    plan_ = planned(attention=["enlca", "nlsa", "none", "nla", {"name": "enlca", "k": "2"}, "enlca:m=8"])
    assert plan_.comparison is not None
    runs = {label: found[0] for label, found in plan_.comparison.runs.items()}
    assert list(runs) == ["enlca", "nlsa", "none", "nla", "enlca k=2", "enlca m=8"]
    assert [run.network.name for run in runs.values()] == ["enlcn", "nlsn", "edsr", "edsr", "enlcn", "enlcn"]
    tables = {run.id for found in plan_.experiments.values() for run in found}
    assert {run.id for run in runs.values()} <= tables
    assert plan_.comparison.reference == "enlca"


def test_all_does_without_a_comparison() -> None:
    assert planned().comparison is None
    assert "compare" not in planned(attention=["enlca", "nlsa"]).experiments


def test_seeds_scale_and_reference_of_a_comparison() -> None:
    settings = {"attention": ["nla", "nlsa"], "seeds": [3, 4], "scale": 2, "reference": "nlsa"}
    found = planned(compare=settings).comparison
    assert found is not None
    assert [(run.seed, run.network.scale) for run in found.runs["nla"]] == [(3, 2), (4, 2)]
    assert found.reference == "nlsa"
    # what the command line says wins
    again = planned(compare=settings | {"reference": "enlca"}, attention=["enlca", "none"]).comparison
    assert again is not None
    assert list(again.runs) == ["enlca", "none"]
    assert planned(attention=["nla", "none"]).comparison.reference == "nla"  # type: ignore[union-attr]


def test_all_of_a_comparison_differs_in_nothing_but_the_attention() -> None:
    found = planned(attention=["enlca", "nlsa", "none"], seeds=[0, 1]).comparison
    assert found is not None
    recipes = set()
    for runs in found.runs.values():
        for run in runs:
            plain = run.as_dict()
            training = {k: v for k, v in plain["training"].items() if k not in compare._COMPARED}
            recipes.add(json.dumps([training, plain["data"], plain["network"]["blocks"], plain["network"]["channels"]]))
    assert len(recipes) == 1


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (["enlca"], "a comparison needs at least two mechanisms, and attention names 1"),
        (["enlca", "nal"], "there is no attention 'nal'; did you mean 'nla'? Your own is given as"),
        (["enlca", "enlca"], "the comparison has two entries called 'enlca'"),
        (["enlca", "other.py:MyAttention"], "there is no file other.py"),
        (["enlca", "mine.py"], "mine.py names no class; write mine.py:Class"),
        (["enlca", "mine.py:MyAtention"], "mine.py defines no MyAtention; did you mean 'MyAttention'?"),
        (["enlca", "broken.py:X"], "broken.py is not Python: line 1:"),
        (["enlca", "no_package.module:X"], "the module of no_package.module:X was not found"),
        (["enlca", {"k": 4}], "names no mechanism"),
        (["enlca", "none:k=4"], "no attention has no option 'k'"),
    ],
)
def test_wrong_mechanisms_are_one_sentence(own: str, listed: list[Any], said: str) -> None:
    Path("broken.py").write_text("class X(:\n")
    with pytest.raises(UsageError) as caught:
        mechanisms.compared(listed, KNOWN)
    assert said in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_reference_that_is_not_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="the reference 'nls' is not in the comparison; did you mean 'nlsa'"):
        planned(attention=["enlca", "nlsa"], compare={"reference": "nls"})


def test_own_files_are_found_and_not_run(own: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("mine.py").write_text(OWN + "\nraise SystemExit('imported')\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("from mine import MyAttention as Other\n")
    found = mechanisms.compared(
        [own, "package.module:Other", {"name": own, "label": "mine, stronger", "strength": 2}], KNOWN
    )
    assert list(found) == ["MyAttention", "Other", "mine, stronger"]
    assert mechanisms.source("package.module:Other") == Path("package/module.py")
    assert mechanisms.source("enlca") is None


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two seeds of enlcn at two k, of edsr, and the controls."""
    folder = tmp_path / "results" / "tiny"
    for seed in (0, 1):
        for name, attention, options in (
            ("enlcn", "enlca", {"k": 6.0}),
            ("enlcn", "enlca", {"k": 1.0}),
            ("edsr", None, {}),
        ):
            results_folder.add(folder, results_folder.run(name, 4, attention, seed, **options))
    for control in ("bicubic", "hr"):
        results_folder.evaluate(folder, f"{control}-x4", 4, np.inf if control == "hr" else 0.0, seed=0)
    return folder


def ids(results: Path, start: str) -> list[str]:
    return sorted(path.name for path in (results / "runs").glob(f"{start}*"))


def test_runs_are_called_by_what_tells_them_apart(results: Path) -> None:
    found = select_runs.named(results, None)
    assert set(found) == {"enlca k=1", "enlca k=6", "none"}
    assert [len(runs) for runs in found.values()] == [2, 2, 2]


def test_methods_are_read_from_words_and_paths(results: Path, tmp_path: Path) -> None:
    edsr, enlcn = ids(results, "edsr"), ids(results, "enlcn-x4-k6")
    words = [f"enlca k=6={','.join(enlcn)}", f"none={results / 'runs' / edsr[0]}"]
    found, controls = select_runs.read(tmp_path / "results" / "tiny", select_runs.parse(words))
    assert {label: [run.id for run in runs] for label, runs in found.items()} == {"enlca k=6": enlcn, "none": edsr[:1]}
    assert {run.control for run in controls} == {"bicubic", "hr"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "a"], "'a' is not LABEL=RUN"),
        (["--method", "a=x"], "a comparison needs at least two methods"),
        (["--method", "a=x", "--method", "a=y"], "two methods are called 'a'"),
        (["--method", "a=x", "--method", "b=y", "--runs", "z"], "not by both"),
        (["--method", "a=x", "--method", "b=y", "--reference", "c"], "the reference 'c' is not in the comparison"),
        ([], "name at least two methods"),
        (["--show", "--runs", "a"], "leave --method, --runs and --output out"),
    ],
)
def test_wrong_calls_are_one_sentence(
    results: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--results", str(results), *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_runs_that_cannot_be_compared_are_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results_folder.add(results, results_folder.run("edsr", 2))
    one, six, edsr = ids(results, "enlcn-x4-k1"), ids(results, "enlcn-x4-k6"), ids(results, "edsr-x4")
    base = ["compare", "--results", str(results), "--method", f"none={edsr[0]}", "--method"]
    for method, said in (
        (f"a={one[0]},{six[0]}", "differ in more than their seed"),
        (f"a={one[0]},{one[0]}", "names two runs with the seed 0"),
        (f"a={ids(results, 'edsr-x2')[0]}", "a comparison is at one scale"),
        ("a=nothing", "there is no evaluation of nothing"),
    ):
        assert main([*base, method]) == 1
        assert said in capsys.readouterr().err


def test_two_versions_of_an_own_file_are_not_one_method(results: Path) -> None:
    found, _ = select_runs.read(results, {"none": ids(results, "edsr")})
    for run, digest in zip(found["none"], "ab", strict=True):
        run.provenance.update(attention_file="mine.py", attention_sha256=digest)
    with pytest.raises(SisrError, match=r"different versions of mine\.py"):
        compare.settings(found)


def test_command_writes_and_prints_the_comparison(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        f"--method=enlca={','.join(ids(results, 'enlcn-x4-k6'))}",
        f"--method=none={','.join(ids(results, 'edsr'))}",
    ]
    output = tmp_path / "mine"
    assert main(["compare", "--results", str(results), *words, "--output", str(output), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {Path(file).name for file in told["files"]} == {"compare.csv", "compare.md", "compare.tex"}
    table = cells.read(output / "compare.csv")
    found = {(c["row"], c["dataset"], c["quantity"]): c for _, c in table.iterrows()}
    psnr = [float(found[row, "Set5", "psnr"]["measured"]) for row in ("none", "enlca")]
    assert float(found["none", "Set5", "psnr_difference"]["measured"]) == pytest.approx(psnr[0] - psnr[1])
    assert found["enlca", "Set5", "psnr"]["state"] == "reference"
    assert found["none", "Set5", "psnr"]["state"] == "trained"
    difference = found["none", "Set5", "psnr_difference"]
    assert difference["against"] == "enlca"
    assert difference["verdict"] == significance.verdict(
        difference["low"], difference["high"], difference["p_corrected"]
    )
    assert difference["interval"] == "95 %, images and seeds"
    p = [found["none", dataset, "psnr_difference"]["p"] for dataset in ("Set5", "photographs-test")]
    assert difference["p_corrected"] == pytest.approx(significance.corrected(p)[0])
    assert set(table[table["kind"] == "control"]["row"]) == {"bicubic", "HR image"}
    assert main(["compare", "--results", str(results), *words]) == 0
    shown = capsys.readouterr().out
    assert "Comparison of attention mechanisms with enlca, x4" in shown
    assert "Benjamini and Hochberg" in " ".join(shown.split())  # wherever the line is broken
    # it ends with the commands to continue with
    keep, crops = (shlex.split(line.partition(":  ")[2]) for line in shown.splitlines()[-2:])
    monkeypatch.chdir(tmp_path)
    assert main(keep[3:]) == 0
    assert cells.read(tmp_path / "my_comparison" / "compare.csv").equals(table)
    assert crops[3] == "crops"
    assert all(Path(run).is_dir() for run in crops[crops.index("--method") + 1 :])


def test_another_recipe_is_told(results: Path) -> None:
    run = results_folder.run("edsr", 4, "nla")
    config = results / "runs" / run.id / "config.json"
    results_folder.add(results, run)
    config.write_text(config.read_text().replace('"steps": 300', '"steps": 600'))
    found = {"none": load(results, ids(results, "edsr-x4-s"))[:2], "nla": load(results, [run.id])[:1]}
    table = compare.build(found, [], "none", "tiny")
    assert any(
        "nla was trained with a different recipe than none: steps 600 and not 300" in note for note in view(table).notes
    )


def test_costs_of_labels_over_size(own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = str(Mechanism("edsr", {"blocks": 1, "channels": 8, "attention": own, "slots": (0,)}))
    output, by_size = tmp_path / "cost.csv", tmp_path / "by_size.csv"
    words = [
        "enlca:m=16",
        own,
        network,
        "--label=enlca",
        "--label=mine",
        "--label=mine",
        "--sizes",
        "8",
        "--size",
        "16",
        "16",
    ]
    words += ["--seconds", "0.001", "--device", "cpu", "--output", str(output), "--by-size", str(by_size)]
    assert main(["complexity", *words]) == 0
    sizes = pd.read_csv(by_size)
    assert list(zip(sizes["label"], sizes["height"], strict=True)) == [
        ("enlca", 8),
        ("enlca", 16),
        ("mine", 8),
        ("mine", 16),
    ]
    assert (sizes["training_seconds"] > 0).all()
    # the paper's formula: 2(2mNc + 2mNc_out + mN) with c = c_out = 64
    assert sizes["gflops"][1] == pytest.approx(2 * 16 * 256 * (4 * 64 + 1) / 1e9)
    costs = compare.read_costs(output)
    whole = costs[costs["kind"] == "network"].iloc[0]
    assert (whole["label"], whole["height"]) == ("mine", 16)
    assert whole["gflops"] == pytest.approx(2 * whole["fvcore_gmacs"])
    assert main(["complexity", "enlca", own, "--label", "one", "--sizes", "8"]) == 2
    assert "2 SPECs and 1 labels" in capsys.readouterr().err


def test_training_needs_more_memory_than_a_forward() -> None:
    subject = measure.build("enlca:m=16", 16, (12, 12), 16, measure.torch.device("cpu"))
    before = [parameter.grad for parameter in subject.module.parameters()]
    row, training = measure.measure_cost(subject, 0.001), measure.measure_training(subject, 0.001)
    assert set(training) == set(measure.TRAINING)
    assert training["training_memory_bytes"] > row["peak_memory_bytes"]
    assert [parameter.grad for parameter in subject.module.parameters()] == before
    assert series.gflops({"paper_gflops": None, "kind": "mechanism", "core_gmacs": 1.5})["gflops"] == 3.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", ""),
        ("return x[..., :1]", "its output has the shape (1, 8, 24, 1) for an input of (1, 8, 24, 24)"),
        ("return missing", "name 'missing' is not defined (mine.py, line"),
        ("import not_there", "not_there"),
    ],
)
def test_own_mechanisms_are_tried_before_training(
    own: str, change: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # each version in a file of its own: Python imports a file once
    file = Path(f"mine_{abs(hash(change))}.py")
    file.write_text(OWN.replace("return x * self.strength", change) if change else OWN)
    network = str(Mechanism("edsr", {"blocks": 1, "channels": 8, "attention": f"{file}:MyAttention", "slots": (0,)}))
    status = main(["compare", "check", network, "--json"])
    captured = capsys.readouterr()
    if not said:
        assert status == 0
        assert json.loads(captured.out) == [{"spec": network, "file": str(file), "sha256": sha256(file)}]
    else:
        assert status == 1
        assert said.replace("mine.py", str(file)) in captured.err
        assert captured.err.count("\n") == 1
