"""Crops of the test images where mechanisms differ most, chosen by a rule and not by hand.

Of all test images those are taken whose PSNR differs most between some mechanism and the reference, in either
direction, and of each the square in which the squared errors of these two on Y differ most. What is shown is the
network of the first seed.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sisr.comparison.result import Comparison
from sisr.config.layout import Results
from sisr.data.image_files import read_image
from sisr.data.pairs import Pairs, open_pairs
from sisr.data.store import replace_folder
from sisr.evaluation.crops import SIZE, Chosen, Place, best_window, collect
from sisr.evaluation.metrics import luminance
from sisr.evaluation.upscalers import Bicubic, Method, Network
from sisr.results.cells import text
from sisr.results.runs import Run, load
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write, read_run_json, temporary_folder

if TYPE_CHECKING:
    from sisr.evaluation.crops import Row

IMAGES = 4
WHOLE = 640
"""Longest side of the reduced picture that shows where the crop is."""


@dataclass(frozen=True)
class Picked:
    """A test image in which a mechanism and the reference differ."""

    dataset: str
    image: str
    label: str
    """The mechanism that differs most from the reference."""
    difference: float
    """Its PSNR minus the reference's, in dB."""


@dataclass(frozen=True)
class Crop:
    """One panel: the mechanism, HR or bicubic; HR has no values, as it would be measured against itself."""

    label: str
    file: str
    psnr: float | None
    """Of the whole image, in dB (P1), as `ssim`."""
    ssim: float | None
    crop_psnr: float | None
    """Of the crop alone."""
    crop_ssim: float | None


@dataclass(frozen=True)
class Scene:
    """One image with its crops; files are named relative to the folder of `index.json`."""

    dataset: str
    image: str
    height: int
    width: int
    """Of HR, cropped to a multiple of the scale."""
    x: int
    y: int
    size: int
    """Top-left corner and side of the crop, in HR pixels."""
    why: str
    whole: str
    crops: list[Crop]


def shown_runs(comparison: Comparison, results: Path) -> dict[str, Run]:
    """The run of the first seed of every mechanism. Raises SisrError where its files are not there."""
    ids = {
        label: str(comparison.cell(label, "psnr", comparison.datasets[0])["runs"]).split()[0]
        for label in comparison.labels
    }
    runs = {run.id: run for run in load(results, list(ids.values()))}
    return {label: runs[name] for label, name in ids.items()}


def pick(comparison: Comparison, runs: dict[str, Run], count: int = IMAGES) -> list[Picked]:
    """The images in which a mechanism differs most from the reference, most first."""
    picked = []
    for dataset in comparison.datasets:
        psnr = {label: run.rows[dataset]["psnr"] for label, run in runs.items()}
        gains = pd.DataFrame({label: psnr[label] - psnr[comparison.reference] for label in comparison.others})
        for image, row in gains.replace([np.inf, -np.inf], np.nan).dropna(how="all").iterrows():
            label = str(row.abs().idxmax())
            picked.append(Picked(dataset, str(image), label, float(row[label])))
    return sorted(picked, key=lambda each: -abs(each.difference))[:count]


def make(
    comparison: Comparison,
    results: Path,
    data: Sequence[Path],
    count: int = IMAGES,
    size: int = SIZE,
    device: str = "auto",
) -> list[Scene]:
    """Run the networks on the images that were picked, and write `comparison/crops/`: PNG files and `index.json`.

    data: prepared sets or folders of images, one for each data set of the comparison, by name.
    Raises SisrError where one is missing, or an image is too small for a crop.
    """
    runs = shown_runs(comparison, results)
    pairs = {each.name: each for each in (open_pairs(folder, comparison.scale) for folder in data)}
    picked = pick(comparison, runs, count)
    if missing := sorted({each.dataset for each in picked} - set(pairs)):
        raise SisrError(f"the images of {', '.join(missing)} are needed; name their folders with --data.")
    rows: list[tuple[Picked, Row]] = []
    for dataset in dict.fromkeys(each.dataset for each in picked):
        mine = [each for each in picked if each.dataset == dataset]
        methods: dict[str, Method] = {"bicubic": _Remembering(Bicubic())}
        methods |= {label: _Remembering(network(run, dataset, device)) for label, run in runs.items()}
        places = [_place(each, comparison.reference, pairs[dataset], methods, comparison.scale, size) for each in mine]
        side = min(place_size for _, place_size in places)
        panels = collect(pairs[dataset], comparison.scale, methods, [place for place, _ in places], side)
        rows += zip(mine, panels, strict=True)
    rows.sort(key=lambda item: picked.index(item[0]))
    return _write(rows, comparison, Results(results).crops)


def network(run: Run, dataset: str, device: str) -> Network:
    """A run's network in the way in which it was evaluated."""
    from sisr.evaluation.inference import Mode

    run.protocol(dataset)  # refuses weights that were trained again since
    beside = run.files[dataset].with_suffix(".json")
    facts = read_run_json(beside) if beside.is_file() else {}
    weights = Results.of(run.evaluation).weights(run.id)
    return Network(weights, run.scale, device, Mode(**facts.get("mode", {})), facts.get("precision", "float32"))


class _Remembering(Method):
    """A method that upscales each image once: its SR is looked at to find the place, and again to show it."""

    def __init__(self, method: Method) -> None:
        self.method, self.label = method, method.label
        self.model = getattr(method, "model", None)
        self._known: dict[str, tuple[NDArray[Any], float, str]] = {}

    def facts(self) -> dict[str, Any]:
        return self.method.facts()

    def check(self, pairs: Pairs, scale: int) -> None:
        self.method.check(pairs, scale)

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        name = pairs.names[i]
        if name not in self._known:
            self._known[name] = self.method.upscale(pairs, i, scale)
        return self._known[name]


def _place(
    picked: Picked, reference: str, pairs: Pairs, methods: dict[str, Method], scale: int, size: int
) -> tuple[Place, int]:
    """Where the two differ most in squared error, in either direction, and the side of the crop."""
    index = pairs.names.index(picked.image)
    one = Chosen(pairs, [index])
    hr = luminance(one.hr(0))
    errors = [(luminance(methods[label].upscale(one, 0, scale)[0]) - hr) ** 2 for label in (picked.label, reference)]
    difference = errors[1] - errors[0]
    size = min(size, *(side - 2 * scale for side in hr.shape))
    windows = [(*best_window(sign * difference, size, scale), sign) for sign in (1.0, -1.0)]

    def most(window: tuple[int, int, float]) -> float:
        x, y, sign = window
        return float(sign * difference[y : y + size, x : x + size].sum())

    x, y, _ = max(windows, key=most)
    return Place(index, x, y), size


def _write(rows: "list[tuple[Picked, Row]]", comparison: Comparison, folder: Path) -> list[Scene]:
    from PIL import Image

    scenes = []
    with temporary_folder(folder) as workspace:
        new = workspace / "crops"
        new.mkdir()
        for number, (picked, row) in enumerate(rows):
            crops = []
            for place, panel in enumerate(row.panels):
                file = f"{number:02d}-{place:02d}-{re.sub(r'[^A-Za-z0-9_.]+', '-', panel.label)}.png"
                Image.fromarray(np.ascontiguousarray(panel.pixels)).save(new / file)
                crops.append(Crop(panel.label, file, panel.psnr, panel.ssim, panel.crop_psnr, panel.crop_ssim))
            whole = f"{number:02d}-whole.png"
            image = Image.fromarray(np.ascontiguousarray(row.whole))
            image.thumbnail((WHOLE, WHOLE), Image.Resampling.LANCZOS)
            image.save(new / whole)
            x, y, size, _ = row.box
            height, width = row.whole.shape[:2]
            why = _why(picked, comparison.reference, crops)
            scenes.append(Scene(picked.dataset, picked.image, height, width, x, y, size, why, whole, crops))
        with atomic_write(new / "index.json") as temporary:
            temporary.write_text(json.dumps([asdict(scene) for scene in scenes], indent=1) + "\n", encoding="utf-8")
        replace_folder(new, folder)
    return scenes


def _why(picked: Picked, reference: str, crops: list[Crop]) -> str:
    """How the two differ in the image and in the crop."""
    inside = {crop.label: crop.crop_psnr for crop in crops}
    one, two = inside[picked.label], inside[reference]
    here = f", {text(one - two, 2, sign=True)} dB in the crop" if one is not None and two is not None else ""
    return f"{picked.label} minus {reference}: {text(picked.difference, 2, sign=True)} dB in the image{here}"


def read(results: Path) -> list[Scene]:
    """The crops in a results folder. Raises SisrError where there are none."""
    path = Results(results).crops / "index.json"
    if not path.is_file():
        raise SisrError(f"there is no {path}; run python -m sisr compare crops --results {results} first.")
    content = read_run_json(path, list)
    return [Scene(**{**scene, "crops": [Crop(**crop) for crop in scene["crops"]]}) for scene in content]


def figure_rows(scenes: Sequence[Scene], results: Path) -> "list[Row]":
    """What `sisr.report.figures.crops.draw` takes: the scenes with the pixels of their files."""
    from sisr.evaluation.crops import Panel, Row

    folder = Results(results).crops
    rows = []
    for scene in scenes:
        whole = read_image(folder / scene.whole)
        share = whole.shape[1] / scene.width
        x, y, size = (round(share * value) for value in (scene.x, scene.y, scene.size))
        panels = [
            Panel(crop.label, read_image(folder / crop.file), crop.psnr, None, crop.crop_psnr) for crop in scene.crops
        ]
        rows.append(Row(f"{scene.image} ({scene.dataset})", whole, (x, y, size, size), panels, scene.why))
    return rows
