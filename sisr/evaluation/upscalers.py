"""What can be measured: a network with its weights, SR images made elsewhere, and the controls `bicubic` and `hr`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sisr.data.image_files import list_images, match_name, read_image
from sisr.data.imresize import imresize
from sisr.data.pairs import Pairs
from sisr.evaluation.metrics import luminance
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256

if TYPE_CHECKING:
    from sisr.evaluation.inference import Mode

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".npz")


class Method(Protocol):
    """Something that gives an SR image."""

    label: str

    def facts(self) -> dict[str, Any]:
        """What the result file says of it."""

    def check(self, pairs: Pairs, scale: int) -> None:
        """Raise SisrError before any work where it cannot be measured on these images."""

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        """SR of image i, the seconds it took, and how it was done."""


class Bicubic:
    """The floor: MATLAB's bicubic enlargement. Under P3 the whole of it happens on Y, in double precision, from HR."""

    label = "bicubic"

    def __init__(self, protocol: str = "P1", boundary: str = "symmetric") -> None:
        self.protocol, self.boundary = protocol, boundary

    def facts(self) -> dict[str, Any]:
        """Its border."""
        return {"boundary": self.boundary}

    def check(self, pairs: Pairs, scale: int) -> None:
        """It fits any images."""

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        """LR enlarged."""
        started = time.perf_counter()
        if self.protocol == "P3":
            plane = luminance(pairs.hr(i), "P3")
            lr: NDArray[Any] = imresize(plane, 1 / scale, self.boundary)
        else:
            lr = pairs.lr(i)
            started = time.perf_counter()
        sr = imresize(lr, scale, self.boundary)
        return sr, time.perf_counter() - started, "whole"


class HighResolution:
    """The ceiling: HR itself, which must give PSNR inf and SSIM 1 or the evaluator is broken."""

    label = "hr"

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def check(self, pairs: Pairs, scale: int) -> None:
        """It fits any images."""

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        """HR."""
        return pairs.hr(i).copy(), 0.0, "whole"


class Network:
    """A network with its weights.

    Args:
        weights: own safetensors or an authors' checkpoint, as `models.load` reads them.
        scale: which one, for weights that serve all scales.
        device: "auto", "cpu", "cuda", "cuda:1" …
        mode: whole images, tiles, chop, self-ensemble.
        precision: "float32" (without TF32) or "bfloat16" (autocast).
        unrounded_lr: give the network HR reduced in floating point instead of the set's LR, as SRMD's authors test.
        boundary: border of that reduction.
    """

    def __init__(
        self,
        weights: Path,
        scale: int | None = None,
        device: str = "auto",
        mode: "Mode | None" = None,
        precision: str = "float32",
        unrounded_lr: bool = False,
        boundary: str = "symmetric",
    ) -> None:
        from sisr.evaluation import inference

        self.label = str(weights)
        self.weights, self.mode = weights, mode or inference.Mode()
        self.precision, self.unrounded_lr, self.boundary = precision, unrounded_lr, boundary
        self.device = inference.device(device)
        self.model = load(weights, scale).to(self.device)
        self.scale = int(self.model.scale)
        self.luma_only = bool(getattr(self.model, "luma_only", False))
        if self.device.type == "cuda":  # the first call is slow; it is not to count as the first image's time
            inference.upscale_array(self.model, np.zeros((32, 32, 3), dtype=np.uint8))

    def facts(self) -> dict[str, Any]:
        """Its weights, and where and how it ran."""
        import torch

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {
            "weights": str(self.weights),
            "weights_sha256": sha256(self.weights),
            "device": name,
            "torch": torch.__version__,
            "precision": self.precision,
            "mode": asdict(self.mode),
            "network": self.model.config["name"],
            "unrounded_lr": self.unrounded_lr,
            "luma_only": self.luma_only,
        }

    def check(self, pairs: Pairs, scale: int) -> None:
        """Raise UsageError where the network is made for another scale."""
        if scale != self.scale:
            raise UsageError(f"{self.weights} enlarges x{self.scale}, not x{scale}; say --scale {self.scale}.")

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        """LR through the network."""
        import torch

        from sisr.evaluation import inference

        lr = imresize(pairs.hr(i) / 255.0, 1 / scale, self.boundary) if self.unrounded_lr else np.array(pairs.lr(i))
        inference.synchronise(self.device)
        started = time.perf_counter()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            upscale = inference.upscale_luma if self.luma_only else inference.upscale_and_tell
            sr, mode = upscale(self.model, lr, self.mode)
        return sr, time.perf_counter() - started, str(mode)


class Folder:
    """SR images made elsewhere, found by name: baby.png, babyx4.png, baby_x4_SR.png, baby_RCAN_x4.png.

    Args:
        folder: the images themselves, or one folder a set, with or without a folder a scale: Set5/, Set5/x4/.
    """

    def __init__(self, folder: Path) -> None:
        self.label, self.folder = str(folder), folder
        self._files: dict[str, Path] = {}

    def facts(self) -> dict[str, Any]:
        """The folder."""
        return {"folder": self.label}

    def check(self, pairs: Pairs, scale: int) -> None:
        """Find the SR of every image; raise SisrError where one has none, or two."""
        own = self.folder / pairs.name
        places = (own / f"x{scale}", own / f"X{scale}", own, self.folder / f"x{scale}", self.folder)
        folder = next((place for place in places if place.is_dir() and list_images(place)), self.folder)
        paths = list_images(folder)
        if not paths:
            raise SisrError(f"there are no images in {folder}.")
        self._files = {}
        for path in paths:
            name = match_name(path.stem, pairs.names, scale)
            if name in self._files:
                both = f"{self._files[name].name} and {path.name}"
                raise SisrError(f"{both} in {folder} are both an SR of {name} at x{scale}; keep one.")
            if name is not None:
                self._files[name] = path
        missing = [name for name in pairs.names if name not in self._files]
        if missing:
            some = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            raise SisrError(
                f"{folder} has no SR at x{scale} for {len(missing)} of {len(pairs.names)} images ({some}); "
                f"its files are called {', '.join(path.name for path in paths[:3])} …"
            )

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        """The file's pixels."""
        path, hr = self._files[pairs.names[i]], pairs.hr(i)
        sr = read_image(path)
        if sr.shape[:2] != hr.shape[:2]:
            ratio = sr.shape[0] / (hr.shape[0] / scale)
            hint = f"; it looks like x{ratio:.3g}" if abs(ratio - scale) > 0.5 else ""
            raise SisrError(
                f"{path} is {sr.shape[0]} x {sr.shape[1]}, but HR cropped to x{scale} is "
                f"{hr.shape[0]} x {hr.shape[1]}{hint}."
            )
        return sr, 0.0, "whole"


def load(weights: Path, scale: int | None = None) -> Any:
    """A network with its weights, in evaluation mode; `scale` counts for weights that serve all scales (VDSR's).

    Raises:
        SisrError: the file is missing, damaged, or of no network this suite knows.
    """
    import models

    if not weights.is_file():
        raise SisrError(f"there is no file {weights}.")
    try:
        return models.load(weights, scale if weights.suffix == ".npz" else None)
    except (ValueError, KeyError) as error:
        raise SisrError(f"{weights} cannot be used: {error}") from error


def weights_of(path: Path) -> Path | None:
    """The weights file that a run folder or a path means, or None if it means neither."""
    if path.is_file() and path.suffix in WEIGHTS:
        return path
    return path / "weights.safetensors" if (path / "weights.safetensors").is_file() else None


def method(
    what: str,
    scale: int,
    *,
    protocol: str = "P1",
    boundary: str = "symmetric",
    device: str = "auto",
    mode: "Mode | None" = None,
    precision: str = "float32",
    unrounded_lr: bool = False,
) -> Method:
    """What the command line means by WHAT: `bicubic`, `hr`, a run folder, a weights file, a folder of SR images.

    Raises:
        SisrError: it is none of these.
    """
    if what == "bicubic":
        return Bicubic(protocol, boundary)
    if what == "hr":
        return HighResolution()
    path = Path(what)
    if weights := weights_of(path):
        return Network(weights, scale, device, mode, precision, unrounded_lr, boundary)
    if path.is_dir():
        if (path / "config.json").is_file():
            raise SisrError(f"{path} is a run without weights.safetensors: its training is not finished.")
        return Folder(path)
    if path.is_file():
        raise SisrError(f"{path} is no weights file; these end in {', '.join(WEIGHTS)}.")
    raise SisrError(f"there is no {what}; give a run folder, a weights file, a folder of SR images, bicubic or hr.")
