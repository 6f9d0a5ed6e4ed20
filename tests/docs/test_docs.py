"""The documentation builds without a warning; its pages lead nowhere wrong and ask nothing of the network."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from sisr import cli

ROOT = Path(__file__).parents[2]
# what a browser fetches by itself when it opens a page
FETCHED = {
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("source", "src"),
    ("iframe", "src"),
    ("object", "data"),
}
VOID_LINKS = {"canonical", "next", "prev"}  # of <link>: said, not fetched


class Page(HTMLParser):
    """What one page of HTML links to, fetches and has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        for name, value in values.items():
            if tag == "a" and name == "href":
                self.links.append(value)
            elif (tag, name) in FETCHED and values.get("rel") not in VOID_LINKS:
                self.fetched.append(value)
            elif name == "srcset":
                self.fetched += [part.split()[0] for part in value.split(",")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """All pages of it."""
    found = {file.resolve(): Page(file.read_text()) for file in site.rglob("*.html")}
    assert len(found) > 15
    return found


def targets(file: Path, page: Page) -> Iterator[tuple[str, Path, str]]:
    """What a page links to and fetches within the site: as written, the file, the anchor."""
    for target in page.links + page.fetched:
        parts = urlsplit(target)
        if not parts.scheme and not parts.netloc:
            yield target, (file.parent / unquote(parts.path)).resolve() if parts.path else file, unquote(parts.fragment)


def test_links_and_images_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    # the page that a web server shows for a wrong address is written for the site's root
    wrong = []
    for file, page in pages.items():
        for target, found, anchor in targets(file, page):
            if target.startswith("/") and file.name == "404.html":
                continue
            if found.is_dir():
                found /= "index.html"
            if not found.is_file() or site.resolve() not in found.parents:
                wrong.append(f"{file.name}: {target}")
            elif anchor and found in pages and not anchor.startswith("__") and anchor not in pages[found].ids:
                wrong.append(f"{file.name}: {target} (no such anchor)")
    assert not wrong


def test_pages_fetch_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        assert not [target for target in page.fetched if urlsplit(target).netloc], file.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(\s*['\"]?(?:https?:)?//", style.read_text()), style.name
        assert not re.findall(r"@import[^;]*//", style.read_text()), style.name


def test_links_to_elsewhere_are_papers_and_data_sets_only(pages: dict[Path, Page]) -> None:
    hosts = {urlsplit(target).netloc for page in pages.values() for target in page.links} - {""}
    assert hosts <= {"arxiv.org", "doi.org", "huggingface.co", "www.manga109.org"}


def test_search_works_on_a_page_opened_from_the_disk(site: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium")
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=20000", "--dump-dom", f"file://{site}/index.html?q=contrastive",
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"(\d+) matching documents", done.stdout)
    assert found, done.stderr[-2000:]
    assert int(found[1]) > 3


def test_checker_notices_what_is_wrong(tmp_path: Path) -> None:
    text = '<h1 id="a"></h1><a href="gone.html">x</a><img src="https://elsewhere.org/x.png"><a href="#b">y</a>'
    (tmp_path / "page.html").write_text(text)
    pages = {(tmp_path / "page.html").resolve(): Page(text)}
    with pytest.raises(AssertionError, match=r"gone\.html"):
        test_links_and_images_lead_somewhere(tmp_path, pages)
    with pytest.raises(AssertionError, match="no such anchor"):
        test_links_and_images_lead_somewhere(tmp_path, pages)
    with pytest.raises(AssertionError, match="elsewhere"):
        test_pages_fetch_nothing_from_elsewhere(tmp_path, pages)
    with pytest.raises(AssertionError, match="elsewhere"):
        test_links_to_elsewhere_are_papers_and_data_sets_only({Path("page"): Page('<a href="https://elsewhere.org">')})


def test_every_verb_and_every_setting_is_documented(site: Path, pages: dict[Path, Page]) -> None:
    from dataclasses import fields

    from sisr.config.run import Network, Training, flag

    commands = pages[(site / "commands.html").resolve()]
    assert set(cli.verbs()) <= commands.ids
    training = "".join(pages[(site / "training.html").resolve()].words)
    for setting in (*fields(Network), *fields(Training)):
        assert flag(setting.name) in training
        assert setting.metadata["help"].replace("`", "") in training


def test_readme_names_every_verb() -> None:
    text = (ROOT / "README.md").read_text()
    assert not [verb for verb in cli.verbs() if f"`{verb}`" not in text]


def test_readme_shows_the_measured_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    blocks = importlib.import_module("docs_blocks")
    assert blocks.BLOCKS["laptop in short"]() in (ROOT / "README.md").read_text()


def test_every_key_of_a_preset_is_documented_once_in_words_and_once_in_the_schema(
    site: Path, pages: dict[Path, Page]
) -> None:
    said = "".join(pages[(site / "configuration.html").resolve()].words)
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    prose = (ROOT / "config/README.md").read_text()
    for name, node in schema["properties"].items():
        assert re.search(rf"`{name}[`.]", prose), f"config/README.md does not explain {name}"
        assert name in said
        node = {**schema["$defs"].get(node.get("$ref", "").rpartition("/")[2], {}), **node}
        for inner in node.get("properties", {}) if node.get("additionalProperties") is False else ():
            assert f"{name}.{inner}" in said
