"""Methods for evaluation: a network with weights, a folder of SR images, and the controls `bicubic` and `hr`."""

import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sisr.config.mechanisms import Mechanism, is_custom, source
from sisr.data.image_files import list_images, match_files, read_image
from sisr.data.imresize import imresize
from sisr.data.pairs import Pairs
from sisr.evaluation.metrics import luminance
from sisr.utils.errors import SisrError, UsageError
from sisr.utils.files import sha256

if TYPE_CHECKING:
    from sisr.evaluation.inference import Mode

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".npz", ".mat")


class Method(Protocol):
    """A source of SR images."""

    label: str

    def facts(self) -> dict[str, Any]:
        """Entries for the result file."""
        return {}

    def check(self, pairs: Pairs, scale: int) -> None:
        """Raise SisrError early if it does not support these images."""
        return

    def source(self, pairs: Pairs, i: int) -> str:
        """Identity of the SR of image i, where it does not follow from HR, LR and `facts`."""
        return ""

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        """SR of image i, its time in seconds, and the inference mode."""
        ...


class Bicubic(Method):
    """Lower bound: MATLAB's bicubic upscaling. With P3, on Y of HR in double precision."""

    label = "bicubic"

    def __init__(self, protocol: str = "P1", boundary: str = "symmetric") -> None:
        self.protocol, self.boundary = protocol, boundary

    def facts(self) -> dict[str, Any]:
        return {"boundary": self.boundary}

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        lr = None if self.protocol == "P3" else pairs.lr(i)
        started = time.perf_counter()
        if lr is None:
            lr = imresize(luminance(pairs.hr(i), "P3"), 1 / scale, self.boundary)
        sr = imresize(lr, scale, self.boundary)
        return sr, time.perf_counter() - started, "whole"


class HighResolution(Method):
    """Upper bound: HR itself. A correct evaluation gives PSNR inf and SSIM 1."""

    label = "hr"

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        return pairs.hr(i).copy(), 0.0, "whole"


class Network(Method):
    """A network with its weights.

    Args:
        weights: a file as for `models.load`: of this suite, or any published checkpoint that is recognised.
        scale: for weights that serve all scales.
        network: a network of one's own that the weights belong to, `file.py:Class:option=value`.
        precision: "float32" (without TF32) or "bfloat16" (autocast).
        unrounded_lr: use HR reduced in floating point instead of the set's LR, as SRMD's authors do.
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
        network: str | None = None,
    ) -> None:
        from sisr.evaluation import inference

        self.label = str(weights) if network is None else f"{network} with {weights}"
        self.weights, self.mode = weights, mode or inference.Mode()
        self.precision, self.unrounded_lr, self.boundary = precision, unrounded_lr, boundary
        self.device = inference.device(device)
        self.model = load(weights, scale, network).to(self.device)
        self.scale = int(self.model.scale)
        self.luma_only = bool(getattr(self.model, "luma_only", False))
        if self.device.type == "cuda":  # warm-up: the first call is slow
            inference.upscale_array(self.model, np.zeros((32, 32, 3), dtype=np.uint8))

    def facts(self) -> dict[str, Any]:
        import torch

        from sisr.utils.precision import computed_precision

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {
            "weights": str(self.weights),
            "weights_sha256": self._sha256,
            "device": name,
            "torch": torch.__version__,
            "precision": self.precision,
            "computed_in": computed_precision(self.precision, self.device),
            "mode": asdict(self.mode),
            "network": self.model.config["name"],
            "unrounded_lr": self.unrounded_lr,
            "luma_only": self.luma_only,
            **self._origin,
        }

    @cached_property
    def _sha256(self) -> str:
        return sha256(self.weights)

    @cached_property
    def _origin(self) -> dict[str, Any]:
        """The library that recognised the network, or the file of a network of one's own."""
        if "read_by" in self.model.config:
            return {"read_by": self.model.config["read_by"]}
        file = source(self.model.config["name"])
        return {"network_file": str(file), "network_sha256": sha256(file)} if file else {}

    def check(self, pairs: Pairs, scale: int) -> None:
        """Raise UsageError if the network has another scale."""
        if scale != self.scale:
            raise UsageError(f"{self.weights} upscales x{self.scale}, not x{scale}; use --scale {self.scale}.")

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        from sisr.evaluation import inference
        from sisr.utils.precision import autocast

        lr = imresize(pairs.hr(i) / 255.0, 1 / scale, self.boundary) if self.unrounded_lr else np.array(pairs.lr(i))
        inference.synchronise(self.device)
        started = time.perf_counter()
        with autocast(self.precision, self.device):
            upscale = inference.upscale_luma if self.luma_only else inference.upscale_with_mode
            sr, mode = upscale(self.model, lr, self.mode)
        return sr, time.perf_counter() - started, str(mode)


class Folder(Method):
    """SR images from another program, found by name: baby.png, babyx4.png, baby_x4_SR.png, baby_RCAN_x4.png.

    Args:
        folder: the images themselves, or one folder a set, with or without a folder a scale: Set5/, Set5/x4/.
    """

    def __init__(self, folder: Path) -> None:
        self.label, self.folder = str(folder), folder
        self._files: dict[str, Path] = {}

    def facts(self) -> dict[str, Any]:
        return {"folder": self.label}

    def check(self, pairs: Pairs, scale: int) -> None:
        """Find the SR of every image; raise SisrError if one is missing or ambiguous."""
        of_set = self.folder / pairs.name
        folders = (of_set / f"x{scale}", of_set / f"X{scale}", of_set, self.folder / f"x{scale}", self.folder)
        folder = next((each for each in folders if each.is_dir() and list_images(each)), self.folder)
        paths = list_images(folder)
        if not paths:
            raise SisrError(f"there are no images in {folder}.")
        self._files = match_files(paths, pairs.names, scale, "SR")
        missing = [name for name in pairs.names if name not in self._files]
        if missing:
            some = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            raise SisrError(
                f"{folder} has no SR at x{scale} for {len(missing)} of {len(pairs.names)} images ({some}); "
                f"its files are {', '.join(path.name for path in paths[:3])} …"
            )

    def source(self, pairs: Pairs, i: int) -> str:
        return sha256(self._files[pairs.names[i]])

    def upscale(self, pairs: Pairs, i: int, scale: int) -> tuple[NDArray[Any], float, str]:
        path, hr = self._files[pairs.names[i]], pairs.hr(i)
        sr = read_image(path)
        if sr.shape[:2] != hr.shape[:2]:
            ratio = sr.shape[0] / (hr.shape[0] / scale)
            hint = f"; it seems to be x{ratio:.3g}" if abs(ratio - scale) > 0.5 else ""
            raise SisrError(
                f"{path} is {sr.shape[0]} x {sr.shape[1]}, but HR cropped to x{scale} is "
                f"{hr.shape[0]} x {hr.shape[1]}{hint}."
            )
        return sr, 0.0, "whole"


def load(weights: Path, scale: int | None = None, network: str | None = None) -> Any:
    """A network with its weights, in evaluation mode; `scale` is for weights that serve all scales (VDSR's).

    network: a network of one's own that the weights belong to, with its options.
    Raises SisrError where the file is missing, damaged, or of an unknown network.
    """
    from models.weights import load_any_scale, load_into

    if not weights.exists():
        raise SisrError(f"there is no file {weights}.")
    try:
        if network is not None:
            named = Mechanism.parse(network)
            return load_into(named.name, weights, scale, **named.options)
        return load_any_scale(weights, scale)
    except ValueError as error:
        raise SisrError(f"{weights} cannot be used: {str(error).rstrip('.')}.") from error


def pretrained(scale: int) -> Path:
    """The weights file that comes with the repository. Raises UsageError where there is none for the scale."""
    import models.pretrained

    try:
        return models.pretrained.weights(scale)
    except ValueError as error:
        raise UsageError(f"{error}; name a run folder or a weights file.") from error


def weights_of(path: Path) -> Path | None:
    """The weights file of a run folder or a path, or None."""
    if path.is_file() and path.suffix.lower() in WEIGHTS:
        return path
    return path / "weights.safetensors" if (path / "weights.safetensors").is_file() else None


def method(
    what: str,
    scale: int | None = None,
    *,
    weights: Path | None = None,
    protocol: str = "P1",
    boundary: str = "symmetric",
    device: str = "auto",
    mode: "Mode | None" = None,
    precision: str = "float32",
    unrounded_lr: bool = False,
) -> Method:
    """The method for WHAT: `bicubic`, `hr`, `pretrained`, a run folder, a weights file, a folder of SR images, or a
    network of one's own (`file.py:Class`) with a weights file.

    scale: None for that of the weights. Raises SisrError where it is none of these.
    """
    settings = (scale, device, mode, precision, unrounded_lr, boundary)
    named = Mechanism.parse(what).name
    if is_custom(named) and not Path(what).exists():
        Mechanism(named).check((), kind="network")
        if weights is None:
            raise UsageError(f"{what} is a network without weights; give its file with --weights.")
        return Network(weights, *settings, network=what)
    if weights is not None:
        raise UsageError(f"--weights is for a network of one's own, file.py:Class, not for {what}; leave one out.")
    if what == "bicubic":
        return Bicubic(protocol, boundary)
    if what == "hr":
        return HighResolution()
    path = pretrained(scale or 4) if what == "pretrained" else Path(what)
    if file := weights_of(path):
        return Network(file, *settings)
    if path.is_dir():
        if (path / "config.json").is_file():
            raise SisrError(f"{path} is a run without weights.safetensors: its training is not finished.")
        return Folder(path)
    if path.is_file():
        raise SisrError(f"{path} is not a weights file; their suffixes are {', '.join(WEIGHTS)}.")
    raise SisrError(
        f"{what} does not exist; give a run folder, a weights file, file.py:Class, a folder of SR images, pretrained, "
        "bicubic or hr."
    )
