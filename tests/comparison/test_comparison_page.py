"""The page of a comparison in a real browser: complete, quiet, without a network, sortable, and fit for a phone."""

import json
import re
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sisr.cli import main
from sisr.comparison import figures, page, result
from sisr.utils.errors import SisrError
from tests.helpers import comparison_folder
from tests.helpers.browser import column, open_fresh, press, requested, resize


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "quick"
    comparison_folder.make(folder)
    comparison_folder.write_crops(folder, list(comparison_folder.RUNS))
    figures.write(folder)
    page.write(folder)
    return folder


@pytest.fixture
def opened(browser: Any, results: Path) -> Any:
    """The page, freshly opened on a desktop; what the browser logged before is forgotten."""
    open_fresh(browser, (results / "comparison.html").as_uri())
    return browser


def test_page_is_quiet_complete_and_asks_the_network_for_nothing(opened: Any) -> None:
    assert opened.get_log("browser") == []
    images = opened.execute_script("return [...document.images].map(image => [image.complete, image.naturalWidth])")
    assert len(images) == 3 + 6  # figures; the whole image and its crops: HR, bicubic, three mechanisms
    assert all(complete and width > 0 for complete, width in images)
    asked = requested(opened)
    assert [url for url in asked if url.startswith("file:")] == [opened.current_url]
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_policy_forbids_requests_and_foreign_scripts(opened: Any) -> None:
    """A server that would be asked hears nothing, and a script that is put into the page does not run."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        refused = opened.execute_async_script(
            """const [address, done] = arguments, found = [];
            addEventListener("securitypolicyviolation", event => found.push(event.effectiveDirective));
            new Image().src = address + "image";
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            fetch(address + "fetch").catch(() => setTimeout(() => done([found, Boolean(window.ran)]), 100));""",
            f"http://127.0.0.1:{server.server_port}/",
        )
    finally:
        server.shutdown()
        server.server_close()
    directives, ran = refused
    assert sorted(directives) == ["connect-src", "img-src", "script-src-elem"]
    assert not ran
    assert heard == []


def test_heading_sorts_numbers_in_both_directions_with_blanks_last(opened: Any, results: Path) -> None:
    comparison = result.read(results)
    at, direction = press(opened, "quality", "PSNR difference")
    gains = sorted(
        found.value
        for label, dataset in comparison.places()
        if (found := comparison.measured(label, "psnr_difference", dataset))
    )
    assert direction() == "descending"
    shown = column(opened, "quality", at)
    assert [float(value) for value in shown[: len(gains)]] == gains[::-1]
    assert set(shown[len(gains) :]) == {""}
    press(opened, "quality", "PSNR difference")
    assert direction() == "ascending"
    shown = column(opened, "quality", at)
    assert [float(value) for value in shown[: len(gains)]] == gains
    assert set(shown[len(gains) :]) == {""}
    assert opened.find_element("id", "quality-said").get_attribute("textContent") == (
        "Sorted by PSNR difference dB, ascending."
    )


def test_another_heading_takes_over_and_texts_sort_as_texts(opened: Any) -> None:
    _, first = press(opened, "quality", "SSIM")
    assert first() == "descending"
    at, second = press(opened, "quality", "Mechanism")
    assert (first(), second()) == ("none", "ascending")
    names = column(opened, "quality", at)
    assert names == sorted(names, key=str.lower)
    assert len(names) == 2 * (3 + 2)  # sets, mechanisms, controls
    infinite, _ = press(opened, "quality", "PSNR")
    assert column(opened, "quality", infinite)[:2] == ["Infinity", "Infinity"]  # HR against itself, on top


def test_costs_sort_as_numbers_and_not_as_text(opened: Any) -> None:
    at, _ = press(opened, "cost", "Forward")
    values = [float(value) for value in column(opened, "cost", at)]
    assert values == sorted(values)


def test_sorting_works_from_the_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    button = opened.find_element("css selector", "#cost thead th:nth-child(2) button")
    opened.execute_script("arguments[0].focus()", button)
    assert opened.execute_script("return document.activeElement === arguments[0]", button)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    head = opened.find_element("css selector", "#cost thead th:nth-child(2)")
    assert head.get_attribute("aria-sort") == "ascending"
    opened.switch_to.active_element.send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_page_never_scrolls_sideways(opened: Any, width: int) -> None:
    resize(opened, width)
    whole, seen = opened.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert seen == width
    assert whole <= seen
    assert opened.execute_script("return document.body.scrollWidth") <= seen
    boxes = opened.execute_script(
        "return [...document.querySelectorAll('.wide')].map(box => [box.scrollWidth, box.clientWidth])"
    )
    if width <= 375:  # what is too wide scrolls in its own box
        assert all(inner > outer for inner, outer in boxes)


def test_dark_reader_gets_a_dark_page_with_legible_text(opened: Any) -> None:
    def luma() -> list[float]:
        found = opened.execute_script("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
        return [sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3 for colour in found]

    ground, ink = luma()
    assert ground > 200 > 100 > ink
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    try:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
        ground, ink = luma()
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert ground < 60 < 180 < ink


def test_print_opens_what_is_folded(opened: Any) -> None:
    state = "return [...document.querySelectorAll('details')].map(each => each.open)"
    assert not any(opened.execute_script(state))
    pdf = opened.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert len(pdf) > 10_000
    assert all(opened.execute_script(state))


def test_page_answers_and_tells_where_it_comes_from(results: Path) -> None:
    text = (results / "comparison.html").read_text()
    assert "<title>nlsa and my_attention compared with enlca</title>" in text
    assert "worse on 2 of 2 sets" in text
    assert "On Set14, nlsa is worse than enlca" in text
    assert "preset “quick”: a toy scale" in text
    assert "Benjamini and Hochberg" in text
    for row in result.read(results).table["runs"]:
        assert all(run in text for run in str(row).split() if not run.startswith(("bicubic", "hr-")))
    assert "0123abcd" * 5 in text  # the commit
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert len(text) < 5_000_000
    before = text
    page.write(results)
    assert (results / "comparison.html").read_text() == before


def test_templates_are_installed_with_the_package() -> None:
    root, folder = Path(__file__).parents[2], Path(page.__file__).parent
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {file for pattern in declared["sisr.comparison"] for file in folder.glob(pattern)}
    assert installed == set((folder / "templates").iterdir())
    assert {file.name for file in installed} >= {"page.html.j2", "page.css", "page.js"}


def test_labels_are_text_and_never_markup(tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    ids = comparison_folder.make(folder, ["enlca", "nlsa"], (0,), {"Set14": 14})
    evil = '<img src="x" onerror="alert(1)">&'
    comparison_folder.write_costs(folder, ["enlca", evil])
    comparison_folder.write_table(folder, {"enlca": ids["enlca"], evil: ids["nlsa"]})
    text = page.page(folder)
    assert "<img src=" not in text.replace('<img src="data:', "")
    assert "&lt;img src=&#34;x&#34; onerror=&#34;alert(1)&#34;&gt;&amp;" in text
    assert "None were made" in text  # no crops in this one


def test_verbs_write_figures_and_page(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "page", "--results", str(results), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(results / "comparison.html")
    assert said["bytes"] == (results / "comparison.html").stat().st_size
    assert main(["compare", "page", "--results", str(tmp_path)]) == 1
    assert "run python -m sisr tables compare first" in capsys.readouterr().err
    assert main(["compare", "figures", "--results", str(tmp_path)]) == 1
    assert main(["compare", "crops", "--results", str(results), "--data", "data", "--images", "0"]) == 2
    with pytest.raises(SisrError):
        page.write(tmp_path)
