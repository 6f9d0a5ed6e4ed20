"""Phrases that are not plain English stay out of documentation, messages, docstrings and comments."""

import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHRASES = {
    r"\bgo(es|ing)? on (at step|from)\b": "resumes from, resuming at step",
    r"\bsame (call|command) goes on\b": "rerun the command to resume",
    r"\bcarr(y|ies) no claim": "supports no conclusion",
    r"\bhonestly\b": "known limitations",
    r"\bwritten[- ]out (twin|form|code)|\bplain twin": "reference implementation",
    r"\bcannot be told\b": "inconclusive",
    r"\b(not )?told apart\b": "(not) significantly different",
    r"\btold by its size\b": "accepted on effect size",
    r"\bafter the stroke\b": "after the slash",
    r"\bdivides? nothing\b|\bnothing divides\b": "not divisible by any window or stride",
    r"\bare its wishes\b": "preferred values",
    r"\bas people have them\b": "typical user photographs",
    r"\bmemory is too short\b": "not enough memory",
    r"\bthat are no numbers\b": "NaN or infinite values",
    r"(?<!there )\bis no (weights|run|preset|archive|image|file|attention|number|folder|array|option)\b": "is not a",
    r"\bdB from print\b": "dB from the published value",
    r"\bno part of it\b": "unexpected files",
    r"\bfeatures at work\b": "effective number of features",
    r"\bthe time is over\b": "time limit reached",
    r"\bthat can be had\b": "available",
    r"\bon no way over\b": "without converting through",
    r"\btells? no map\b": "provides no attention map",
    r"\b(?<!its )own mechanisms?\b": "custom mechanism",
    r"\btrained otherwise\b": "trained with a different recipe",
    r"(?<![.\w])enlarg(e[ds]?|ing|ements?)\b": "upscale, upscaling",
    r"\btrainings\b": "training runs",
}
FOLDERS = {
    "docs": "*.md", "config": "*.*", "data": "README.md", "results": "README.md", "models": "*.py", "sisr": "*.py",
    "benchmarks": "*.py", "workflow": "*.*",
}  # fmt: skip


@cache
def texts() -> dict[str, str]:
    """Prose by file, in one line each: all of a page or preset, strings and comments of Python code."""
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "Snakefile")]
    files += [file for folder, pattern in FOLDERS.items() for file in sorted((ROOT / folder).rglob(pattern))]
    prose = {}
    for file in files:
        text = prose_of(file.read_text()) if file.suffix == ".py" else file.read_text() if file.is_file() else ""
        prose[str(file.relative_to(ROOT))] = re.sub(r"[\s#]+", " ", text)
    return prose


def prose_of(code: str) -> str:
    """Strings without their placeholders, docstrings and comments of Python code."""
    kinds = ("STRING", "FSTRING_MIDDLE", "COMMENT")
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    parts = [token.string for token in tokens if tokenize.tok_name[token.type] in kinds]
    return re.sub(r"\{[^{}]*\}", "", "\n".join(parts).replace('"\n"', "").replace('"\nf"', ""))


@pytest.mark.parametrize("phrase", PHRASES)
def test_phrase_is_not_used(phrase: str) -> None:
    pattern = re.compile(phrase, re.IGNORECASE)
    uses = [
        f"{file}: … {text[max(0, use.start() - 40) : use.end() + 40]} …"
        for file, text in texts().items()
        for use in pattern.finditer(text)
    ]
    assert not uses, f"write “{PHRASES[phrase]}” instead:\n" + "\n".join(uses)


def test_phrases_are_noticed() -> None:
    text = prose_of('x = enlarge(1)  # the same command goes on\nraise E(f"{x} is no "\n    f"run; {trainings}")')
    assert [phrase for phrase in PHRASES if re.search(phrase, text)] == [
        r"\bsame (call|command) goes on\b",
        r"(?<!there )\bis no (weights|run|preset|archive|image|file|attention|number|folder|array|option)\b",
    ]
    assert {"README.md", "docs/index.md", "sisr/cli/main.py", "config/quick.yaml"} <= set(texts())


def test_files_of_the_layout_page_exist() -> None:
    paths = re.findall(r"`((?:sisr|models|results|workflow)/[\w./-]+)`", (ROOT / "docs/architecture.md").read_text())
    assert len(paths) > 15
    assert not [path for path in paths if not (ROOT / path).exists()]
