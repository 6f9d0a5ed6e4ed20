"""Small trained networks that come with the repository, in half precision, for `sisr upscale` without `--weights`.

README.md beside this file has the commands that trained them and leads to their PSNR.
"""

from pathlib import Path


def weights(scale: int) -> Path:
    """The weights file for a scale, as for `models.load`. Raises ValueError where there is none."""
    files = {int(file.stem.removeprefix("x")): file for file in Path(__file__).parent.glob("x*.safetensors")}
    if scale not in files:
        there = ", ".join(f"x{one}" for one in sorted(files))
        raise ValueError(f"there is no pretrained network for x{scale}, only for {there}")
    return files[scale]
