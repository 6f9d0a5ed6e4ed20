"""The paper's figures as they stand in `results/published`."""

import pytest

from sisr.results import published


def test_table1_is_whole() -> None:
    table = published.table1()
    assert len(table) == 14 * 2 * 5
    assert len(published.methods()) == 14
    assert "bicubic" not in {method.lower() for method in published.methods()}
    blank = table[table["psnr"].isna()]
    assert set(zip(blank["method"], blank["dataset"], strict=True)) == {
        ("NLRN", "Manga109"),
        ("OISR", "Manga109"),
    }
    assert (blank["note"] != "").all()


def test_enlcn_is_best_in_every_psnr_column() -> None:
    table = published.table1()
    for _, column in table.groupby(["scale", "dataset"]):
        assert column.loc[column["psnr"].idxmax(), "method"] == "ENLCN"


@pytest.mark.parametrize(
    ("method", "scale", "dataset", "psnr", "ssim"),
    [
        ("ENLCN", 4, "Urban100", 27.12, 0.8141),
        ("ENLCN", 2, "Set5", 38.37, 0.9618),
        ("NLSN", 4, "Manga109", 31.27, 0.9184),
        ("EDSR", 2, "B100", 32.32, 0.9013),
    ],
)
def test_table1_cells(method: str, scale: int, dataset: str, psnr: float, ssim: float) -> None:
    assert published.table1_figure(method, scale, dataset, "psnr").value == psnr
    assert published.table1_figure(method, scale, dataset, "ssim").value == ssim


def test_odd_and_absent_cells_say_why() -> None:
    slip = published.table1_figure("LapSRN", 2, "B100", "psnr")
    assert slip.value == 31.08
    assert "31.80" in slip.note
    for method, scale, dataset in [
        ("bicubic", 4, "Set5"),
        ("EDSR", 3, "Set5"),
        ("EDSR", 4, "photographs-test"),
    ]:
        absent = published.table1_figure(method, scale, dataset, "psnr")
        assert absent.value is None
        assert "not in the paper" in absent.note


def test_only_what_the_paper_says_is_the_papers() -> None:
    said = {
        (name, row.row, row.quantity): row.value
        for name in ("table2", "table4", "k_sweep")
        for row in published.rows(name).itertuples()
        if row.status == "paper"
    }
    assert said == {
        ("table2", "ENLA", "psnr_difference"): 0.16,
        ("table2", "ENLCA", "psnr_difference"): 0.27,
        ("table4", "ENLCA-m128", "gflops"): 0.66,
        ("k_sweep", "best", "k"): 6,
    }


def test_unknown_figures_are_blank_with_a_reason() -> None:
    for name in ("table2", "table4", "k_sweep"):
        table = published.rows(name)
        unknown = table["status"] == "unknown"
        assert table.loc[unknown, "value"].isna().all()
        assert (table.loc[unknown, "note"] != "").all()
        assert table.loc[~unknown, "value"].notna().all()


def test_derived_gflops_follow_one_convention() -> None:
    # 100x100 positions, 64 channels in and out, two operations a multiply-add, embeddings not counted
    n, c = 10_000, 64
    expected = {"convolution": 2 * 9 * c * c * n, "NLA": 2 * (n * n * c + n * n * c)}
    expected |= {f"ENLCA-m{m}": 2 * (2 * m * n * c + 2 * m * n * c + m * n) for m in (8, 16, 32, 64, 128, 256)}
    for row, operations in expected.items():
        assert published.figure("table4", row, "gflops").value == round(operations / 1e9, 2)
