"""Image stores: what is written is read; what is broken is refused; nothing half-done stays."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as pictures

from sisr.data.catalog import known
from sisr.data.fetch import fetch
from sisr.data.imresize import imresize
from sisr.data.prepare import hr_files, prepare_hr, prepare_lr
from sisr.data.store import ImageStore, PairedStore, write
from sisr.utils.errors import SisrError


def save(folder: Path, **images: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


@settings(max_examples=20, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3])), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_reads_what_was_written(tmp_path_factory: pytest.TempPathFactory, shapes: list, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (h, w) if c == 1 else (h, w, c), dtype=np.uint8) for h, w, c in shapes]
    path = tmp_path_factory.mktemp("store") / "hr"
    written = write(path, ((f"image{i}", image) for i, image in enumerate(images)), {"source": "drawn"})
    for store in (written, ImageStore(path), pickle.loads(pickle.dumps(written))):
        assert len(store) == len(images)
        assert store.names == [f"image{i}" for i in range(len(images))]
        assert store.shapes == shapes
        for i, image in enumerate(images):
            np.testing.assert_array_equal(store.read(i), image)
        store.verify()
        assert store.index["source"] == "drawn"


def test_views_cannot_be_written_to_and_pickles_are_small(tmp_path: Path) -> None:
    store = write(tmp_path / "hr", [("astronaut", pictures.astronaut())], {})
    view = store.read(0)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 0
    assert len(pickle.dumps(store)) < 1000  # a worker process gets the path, not the pixels


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "hr"
    write(path, [("camera", pictures.camera())], {})
    pixels = (path / "pixels.bin").read_bytes()
    (path / "pixels.bin").write_bytes(b"\xff" + pixels[1:])
    with pytest.raises(SisrError, match="was changed after"):
        ImageStore(path).verify()
    (path / "pixels.bin").write_bytes(pixels[:-1])
    with pytest.raises(SisrError, match="instead of 262144"):
        ImageStore(path)
    (path / "index.json").write_text("{}")
    with pytest.raises(SisrError, match="damaged"):
        ImageStore(path)
    (path / "index.json").write_text(json.dumps({"schema": 99, "images": []}))
    with pytest.raises(SisrError, match="format 99"):
        ImageStore(path)
    with pytest.raises(SisrError, match="no prepared images"):
        ImageStore(tmp_path / "nowhere")


def test_an_interrupted_write_leaves_the_old_store_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "hr", [("old", pictures.camera())], {})

    def images():
        yield "new", pictures.coffee()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "hr", images(), {})
    assert ImageStore(tmp_path / "hr").names == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["hr"]
    write(tmp_path / "hr", [("new", pictures.coffee())], {})
    assert ImageStore(tmp_path / "hr").names == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["hr"]


def test_nothing_and_other_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SisrError, match="no image"):
        write(tmp_path / "hr", [], {})
    with pytest.raises(SisrError, match="float64"):
        write(tmp_path / "hr", [("a", np.zeros((3, 3)))], {})
    assert not list(tmp_path.iterdir())


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Two hundred images are written while at most three are alive."""
    import weakref

    alive: set[int] = set()
    most = 0

    class Tracked(np.ndarray):
        pass

    def images():
        nonlocal most
        for i in range(200):
            image = np.zeros((64, 64, 3), dtype=np.uint8).view(Tracked)
            alive.add(i)
            weakref.finalize(image, alive.discard, i)
            most = max(most, len(alive))
            yield str(i), image
            del image

    assert len(write(tmp_path / "hr", images(), {})) == 200
    assert most <= 3


def prepared(tmp_path: Path, source: Path, scale: int, boundary: str = "symmetric") -> PairedStore:
    prepare_hr(source, tmp_path / "set" / "hr")
    prepare_lr(source, scale, tmp_path / "set" / f"x{scale}", boundary)
    return PairedStore(tmp_path / "set", scale)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pairs_of_a_plain_folder(tmp_path: Path, scale: int) -> None:
    coffee, camera = pictures.coffee()[:101, :203], pictures.camera()[:97, :64]
    pairs = prepared(tmp_path, save(tmp_path / "photos", coffee=coffee, camera=camera), scale, "replicate")
    assert pairs.names == ["camera", "coffee"]
    assert len(pairs) == 2
    for i, image in enumerate((camera, coffee)):
        height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
        np.testing.assert_array_equal(pairs.hr(i), image[:height, :width])
        np.testing.assert_array_equal(pairs.lr(i), imresize(image[:height, :width], 1 / scale, "replicate"))
    assert pairs.made == {"from": "imresize", "boundary": "replicate"}


def test_a_sets_own_lr_is_taken_and_recognised(reference_data: Path, tmp_path: Path) -> None:
    source = reference_data / "benchmarks" / "Set5"
    prepare_hr(source, tmp_path / "Set5" / "hr", known()["Set5"])
    for scale in (2, 4):
        store = prepare_lr(source, scale, tmp_path / "Set5" / f"x{scale}", dataset=known()["Set5"])
        assert store.index["lr"]["from"] == "the set's own LR_bicubic"
        assert store.index["lr"]["matches"] == "symmetric"
        assert store.index["verified"]["checked"] == 5
        pairs = PairedStore(tmp_path / "Set5", scale)
        assert pairs.names == ["baby", "bird", "butterfly", "head", "woman"]
        assert pairs.lr(1).shape == (288 // scale, 288 // scale, 3)


def test_lr_of_another_border_or_library_is_named(tmp_path: Path) -> None:
    from PIL.Image import Resampling

    coffee, camera = pictures.coffee(), pictures.camera()
    hr = save(tmp_path / "set" / "HR", coffee=coffee, camera=camera).parent
    old = {"coffeex4": imresize(coffee, 1 / 4, "replicate"), "camerax4": imresize(camera, 1 / 4, "replicate")}
    save(hr / "LR_bicubic" / "X4", **old)
    assert prepare_lr(hr, 4, tmp_path / "x4").index["lr"]["matches"] == "replicate"
    pil = {
        "coffeex4": np.asarray(Image.fromarray(coffee).resize((150, 100), Resampling.BICUBIC)),
        "camerax4": np.asarray(Image.fromarray(camera).resize((128, 128), Resampling.BICUBIC)),
    }
    save(hr / "LR_bicubic" / "X4", **pil)
    made = prepare_lr(hr, 4, tmp_path / "x4").index["lr"]
    assert made["matches"] == "PIL (bicubic)"
    assert 0.05 < made["differing"] < 0.4
    save(hr / "LR_bicubic" / "X4", coffeex4=pil["coffeex4"][::-1])
    made = prepare_lr(hr, 4, tmp_path / "x4").index["lr"]
    assert made["matches"] is None
    assert made["largest_difference"] > 100


def test_what_cannot_be_prepared_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    output = tmp_path / "out" / "x4"
    with pytest.raises(SisrError, match="no images in"):
        prepare_lr(tmp_path / "empty", 4, output)
    with pytest.raises(SisrError, match="no folder"):
        prepare_hr(tmp_path / "nowhere", output)
    photos = save(tmp_path / "photos", coffee=pictures.coffee(), tiny=np.zeros((3, 9), dtype=np.uint8))
    with pytest.raises(SisrError, match=r"tiny.*too small for scale 4"):
        prepare_lr(photos, 4, output)
    (photos / "tiny.png").write_bytes((photos / "coffee.png").read_bytes()[:5000])
    with pytest.raises(SisrError, match=r"tiny\.png cannot be read"):
        prepare_hr(photos, output)
    own = save(tmp_path / "set" / "HR", a=pictures.camera(), b=pictures.camera()).parent
    save(own / "LR_bicubic" / "X4", ax4=np.zeros((128, 128), dtype=np.uint8))
    with pytest.raises(SisrError, match="not for b"):
        prepare_lr(own, 4, output)
    save(own / "LR_bicubic" / "X4", bx4=np.zeros((256, 256), dtype=np.uint8))
    with pytest.raises(SisrError, match=r"is not its HR image .* at x4"):
        prepare_lr(own, 4, output)
    assert not output.exists()
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_an_altered_benchmark_is_not_prepared_under_its_name(tmp_path: Path) -> None:
    test = known()["photographs-test"]
    folder = fetch(test, tmp_path, quiet=True).folder
    assert prepare_hr(folder, tmp_path / "out").index["verified"] is None
    assert prepare_hr(folder, tmp_path / "out", test).index["verified"]["checked"] == 3
    Image.fromarray(pictures.coffee()[::-1]).save(folder / "HR" / "coffee.png")
    with pytest.raises(SisrError, match=r"coffee: other pixels"):
        prepare_hr(folder, tmp_path / "out", test)


def test_an_incomplete_training_set_is_not_prepared_under_its_name(tmp_path: Path) -> None:
    folder = save(tmp_path / "DIV2K" / "HR", **{"0001": pictures.camera(), "0003": pictures.camera()}).parent
    with pytest.raises(SisrError, match=r"DIV2K has 2 of its 800 images, 798 missing \(0002, 0004"):
        prepare_hr(folder, tmp_path / "out", known()["DIV2K"])
    assert len(prepare_hr(folder, tmp_path / "out")) == 2


def test_pairs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "hr", [("a", np.zeros((8, 8), dtype=np.uint8))], {})
    write(tmp_path / "x4", [("b", np.zeros((2, 2), dtype=np.uint8))], {})
    write(tmp_path / "x2", [("a", np.zeros((5, 4), dtype=np.uint8))], {})
    with pytest.raises(SisrError, match="different images"):
        PairedStore(tmp_path, 4)
    with pytest.raises(SisrError, match="is not scale 2"):
        PairedStore(tmp_path, 2)


def test_a_mark_of_all_names_is_no_part_of_them(tmp_path: Path) -> None:
    image = np.zeros((8, 8), dtype=np.uint8)
    assert list(hr_files(save(tmp_path / "a", baby_HR_x4=image, bird_HR_x4=image))) == ["baby", "bird"]
    assert list(hr_files(save(tmp_path / "b", baby_x4=image, bird=image))) == ["baby_x4", "bird"]
    assert list(hr_files(save(tmp_path / "c" / "HR", one=image).parent)) == ["one"]
