"""The patch sampler: two ways of cutting that agree, and images that are smaller than a patch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data as photographs

from sisr.data.imresize import imresize
from sisr.data.patches import PatchSampler, Pixels
from sisr.data.store import ImageStore, PairedStore, write
from sisr.utils.errors import SisrError


def prepared(folder: Path, **images: np.ndarray) -> PairedStore:
    write(folder / "hr", images.items(), {})
    write(folder / "x2", ((name, imresize(image, 0.5)) for name, image in images.items()), {})
    return PairedStore(folder, 2)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageStore, Pixels]:
    """A colour and a greyscale photograph, neither of them square."""
    cat, camera = photographs.chelsea()[:50, :70], photographs.camera()[200:240, 200:231]
    store = write(tmp_path_factory.mktemp("store") / "hr", [("cat", cat), ("camera", camera)], {})
    return store, Pixels.of(store, torch.device("cpu"))


@given(
    image=st.integers(0, 1),
    side=st.integers(1, 31),
    turn=st.integers(0, 7),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=60)
def test_both_ways_cut_what_numpy_cuts(
    pixels: tuple[ImageStore, Pixels], image: int, side: int, turn: int, place: tuple[float, float]
) -> None:
    store, flat = pixels
    height, width = store.shapes[image][:2]
    top, left = int(place[0] * (height - side)), int(place[1] * (width - side))
    cut = np.rot90(store.read(image)[top : top + side, left : left + side], turn % 4)
    cut = cut[:, ::-1] if turn > 3 else cut
    wanted = np.repeat(cut[None], 3, axis=0) if cut.ndim == 2 else cut.transpose(2, 0, 1)
    words = [torch.tensor([value, value]) for value in (image, top, left, turn)]
    for read in (flat.strided, flat.gathered):
        patches = read(*words, side)
        assert patches.dtype == torch.uint8
        assert np.array_equal(patches, np.stack([wanted, wanted]))


def test_images_smaller_than_a_patch_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cat = photographs.chelsea()
    large = prepared(tmp_path / "large", whole=cat[:80, :80])
    mixed = prepared(tmp_path / "mixed", low=cat[:62, :100], fits=cat[:64, :64], narrow=cat[:100, :62])
    sampler = PatchSampler([large, mixed], patch=32, batch=64, seed=0)
    assert sampler.left_out == {"mixed": 2}
    told = "2 of 3 images of mixed are smaller than the training patch of 32 pixels at x2; they are excluded.\n"
    assert capsys.readouterr().err == told
    assert set(sampler.names(0)) == {"whole", "fits"}
    lr, _ = sampler(0)
    fits = torch.tensor(mixed.lr(1)).permute(2, 0, 1)
    for patch, name in zip(lr, sampler.names(0), strict=True):
        if name == "fits":  # as large as the patch: every patch is a symmetry of all of it
            assert torch.equal(patch.flatten(1).sort().values, fits.flatten(1).sort().values)


def test_a_set_of_small_images_only_is_refused(tmp_path: Path) -> None:
    large = prepared(tmp_path / "large", whole=photographs.chelsea()[:80, :80])
    small = prepared(tmp_path / "small", cat=photographs.chelsea()[:40, :40])
    with pytest.raises(SisrError, match="all images of small are smaller than the training patch of 32 pixels at x2"):
        PatchSampler([large, small], patch=32, batch=1, seed=0)
