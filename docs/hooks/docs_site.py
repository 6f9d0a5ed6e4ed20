"""What MkDocs calls while it builds the site: fills in what is made from the code, and the images from results.

A page says `<!-- made: NAME -->` where something made from the code stands (docs_blocks.py), and
`<!-- include: FILE -->` where another Markdown file of the repository stands, without its title.
"""

import os
import re
import sys
from pathlib import Path
from posixpath import relpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from docs_blocks import BLOCKS, leaderboard_file, leaderboard_page  # noqa: E402  (the repository has to be importable first)

DIRECTIVE = re.compile(r"^<!-- (made|include): (.+?) -->$", re.MULTILINE)
# a link or image of Markdown, whose text may go on in the next line; code is left alone because none of it has this
# form with an existing file
LINK = re.compile(r"(!?)\[((?:[^\]\n]|\n(?!\n))*)\]\(([^()\s]+)\)")
IMAGES = (".png", ".svg")
LEADERBOARDS = ("laptop",)
"""Committed presets whose leaderboard is in the site."""
# files of the repository that a page includes: a link to the file goes to the page
PAGES = {"config/README.md": "configuration.md", "data/README.md": "data.md", "results/README.md": "numbers.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the leaderboard, and the files of the mechanisms that it links to."""
    for preset in LEADERBOARDS:
        html, linked = leaderboard_page(preset)
        files.append(File.generated(config, leaderboard_file(preset), content=html))
        for file in linked:
            files.append(File.generated(config, file, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """A page's text with everything filled in and every link leading to a page of the site."""
    source = Path("docs", page.file.src_uri)

    def fill(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "made":
            if name not in BLOCKS:
                raise PluginError(f"{source}: nothing is made under the name {name!r}; there are {', '.join(BLOCKS)}.")
            return relinked(BLOCKS[name](), source, page, config, files)
        file = ROOT / name
        if not file.is_file():
            raise PluginError(f"{source} includes {name}, which does not exist.")
        return relinked(re.sub(r"\A# .*\n+", "", file.read_text()), Path(name), page, config, files)

    return DIRECTIVE.sub(fill, relinked(markdown, source, page, config, files))


def relinked(markdown: str, source: Path, page: Page, config: Any, files: Files) -> str:
    """Markdown of one file of the repository with links that are right on a page of the site."""

    def relink(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or "://" in target:
            return match[0]
        found = os.path.normpath(source.parent / path).replace(os.sep, "/")
        if found in PAGES:
            return f"[{text}]({relative(PAGES[found], page)}{'#' * bool(anchor)}{anchor})"
        if found.startswith("docs/"):
            return f"{mark}[{text}]({relative(found.removeprefix('docs/'), page)}{'#' * bool(anchor)}{anchor})"
        if found.endswith(IMAGES) and (ROOT / found).is_file():
            if not files.get_file_from_path(found):
                files.append(File.generated(config, found, abs_src_path=str(ROOT / found)))
            return f"{mark}[{text}]({relative(found, page)})"
        if files.get_file_from_path(found):  # what the leaderboard links to
            return f"[{text}]({relative(found, page)})"
        if (ROOT / found).exists():
            return text  # a file of the repository that is no page of the site
        raise PluginError(f"{source}: {target} leads nowhere.")

    return LINK.sub(relink, markdown)


def relative(target: str, page: Page) -> str:
    """A path below docs/, as a link from a page."""
    return relpath(target, str(Path(page.file.src_uri).parent))
