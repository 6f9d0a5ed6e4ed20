"""Test images among the training images are found by their pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import models
from sisr.cli import main
from sisr.data.image_files import list_images, read_image
from sisr.data.overlap import check_apart, shared_images
from sisr.data.prepare import prepare_hr, prepare_lr
from sisr.data.store import ImageStore, write
from sisr.utils.errors import SisrError


def picture(seed: int, height: int = 50, width: int = 61) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def prepare(data: Path, name: str, **images: np.ndarray) -> Path:
    """A set `name` prepared at x2; the folder of its images."""
    folder = data.parent / "images" / name
    folder.mkdir(parents=True)
    for image, pixels in images.items():
        Image.fromarray(pixels).save(folder / f"{image}.png")
    prepare_hr(folder, data / name / "hr")
    prepare_lr(folder, 2, data / name / "x2")
    return folder


@settings(max_examples=25)
@given(
    height=st.integers(12, 60),
    width=st.integers(12, 60),
    multiple=st.sampled_from([1, 2, 3, 4, 6, 12]),
    grey=st.sampled_from(["", "train", "test"]),
    changed=st.booleans(),
)
def test_copies_are_found(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, multiple: int, grey: str, changed: bool
) -> None:
    """Cropped copies and greyscale copies too, but no image with another pixel."""
    folder = tmp_path_factory.mktemp("sets")
    image = picture(0, height, width)
    if grey:
        image = np.repeat(image[..., :1], 3, axis=2)
    copy = image[: height - height % multiple or height, : width - width % multiple or width].copy()
    if changed:
        copy[0, 0, 0] ^= 1
    pair = [x[..., 0] if grey == kind and not changed else x for kind, x in (("train", image), ("test", copy))]
    train = write(folder / "train", [("1", picture(1, height, width)), ("2", pair[0])], {})
    test = write(folder / "test", [("a", picture(2, height, width)), ("b", pair[1]), ("c", picture(3))], {})
    assert shared_images(train, test) == ([] if changed else ["b"])


def test_training_on_test_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = tmp_path / "prepared"
    prepare(data, "mine", one=picture(1), two=picture(2), three=picture(3))
    prepare(data, "B100", x=picture(2), y=picture(9), z=picture(3)[:48, :60])
    prepare(data, "Set5", w=picture(8))
    check_apart(["mine"], ["Set5", "not-prepared"], data)
    words = ["train", "--train", "mine", "--output", str(tmp_path / "run"), "--data", str(data), "--device", "cpu"]
    assert main([*words, "--test", "Set5", "B100"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "2 images of the test set B100 (x, z) are also in the training set mine; remove them" in error
    assert "data.overlap_allowed" in error
    assert not (tmp_path / "run").exists()


def test_evaluation_names_training_images_in_the_test_set(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, run = tmp_path / "prepared", tmp_path / "runs" / "small"
    prepare(data, "mine", one=picture(1), two=picture(2))
    prepare(data, "Set5", a=picture(2), b=picture(9))
    prepare(data, "Set14", c=picture(8))
    run.mkdir(parents=True)
    torch.manual_seed(0)
    models.save(models.create("edsr", scale=2, blocks=1, channels=8, slots=()), run / "weights.safetensors")
    (run / "config.json").write_text(json.dumps({"train": ["mine", "elsewhere"]}))
    words = ["--data", str(data / "Set5"), str(data / "Set14"), "--scale", "2", "--device", "cpu"]
    for what in (run, run / "weights.safetensors"):
        assert main(["evaluate", str(what), *words, "--output-dir", str(tmp_path / "out"), "--json"]) == 0
        printed = capsys.readouterr()
        assert "note: 1 image of the test set Set5 (a) is also in the training set mine" in printed.err
        assert len(json.loads(printed.out)) == 2
        facts = [json.loads((tmp_path / "out" / f"{name}_x2.json").read_text()) for name in ("Set5", "Set14")]
        assert facts[0]["trained_on"] == {"mine": 1}
        assert "trained_on" not in facts[1]


def test_real_sets(reference_data: Path, tmp_path: Path) -> None:
    """B100 is the part of BSDS500 that BSDS400 leaves out; all of them have the same size."""
    for name, folder in (("BSDS400", "train/BSDS400"), ("B100", "benchmarks/B100/HR")):
        files = list_images(reference_data / folder)[:12]
        write(tmp_path / name / "hr", ((file.stem, read_image(file)) for file in files), {})
    check_apart(["BSDS400"], ["B100"], tmp_path)
    train, test = (ImageStore(tmp_path / name / "hr") for name in ("BSDS400", "B100"))
    stores = (("own", train), ("part of B100", test))
    write(tmp_path / "BSDS500" / "hr", ((f"{name} {i}", store.read(i)) for name, store in stores for i in range(3)), {})
    with pytest.raises(SisrError, match=r"3 images of the test set B100 .* training set BSDS500"):
        check_apart(["BSDS400", "BSDS500"], ["B100"], tmp_path)
