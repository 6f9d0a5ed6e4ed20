"""The page on the networks of Table 1 states what the code does."""

import re
from pathlib import Path

import torch

import models
from sisr.config import declared
from sisr.results import published


def rows(root: Path, head: str) -> list[list[str]]:
    """Cells of the table whose first line begins with these words, without its head."""
    text = (root / "docs" / "networks.md").read_text()
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def test_every_row_of_the_papers_table_is_listed_once(root: Path) -> None:
    listed = rows(root, "| network | published values")
    assert sorted(row[0].split(" (")[0] for row in listed) == sorted(published.methods())
    for name, printed, trainable, *_ in listed:
        assert printed == "yes"
        assert (trainable != "no") == (name.split()[0].lower() in models.available()), name


def test_sizes_and_scales_are_those_of_the_networks(root: Path) -> None:
    sizes = rows(root, "| network | scales")
    assert sizes
    for title, scales, *counts in sizes:
        name = title.split()[0].lower()
        assert declared.networks()[name].title == title.split()[0]
        for scale, count in zip((2, 4), counts, strict=True):
            with torch.device("meta"):
                model = models.create(name, scale)
            assert f"{sum(parameter.numel() for parameter in model.parameters()):,}" == count
        accepted = []
        for scale in range(1, 9):
            try:
                with torch.device("meta"):
                    models.create(name, scale)
            except ValueError:
                continue
            accepted.append(scale)
        stated = range(1, 9) if scales == "any" else map(int, re.findall(r"\d+", scales))
        assert accepted == list(stated)
