"""Image stores: what is written is read; what is broken is refused; nothing half-done stays."""

import json
import pickle
import shutil
import subprocess
import sys
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
from sisr.data.pairs import open_pairs
from sisr.data.prepare import hr_files, lr_files, prepare_hr, prepare_lr, reduce
from sisr.data.store import ImageStore, PairedStore, write
from sisr.utils.errors import SisrError

ROOT = Path(__file__).parents[2]


def save(folder: Path, **images: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


@settings(max_examples=20)
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
    # any other reduction is prepared and described: without antialiasing, compressed, noisy, blurred
    rng = np.random.default_rng(0)
    noisy = np.clip(pil["coffeex4"] + rng.normal(0, 50, pil["coffeex4"].shape), 0, 255).astype(np.uint8)
    for other in (coffee[2::4, 2::4], noisy, imresize(imresize(coffee, 1 / 8), 2)):
        save(hr / "LR_bicubic" / "X4", coffeex4=other)
        made = prepare_lr(hr, 4, tmp_path / "x4").index["lr"]
        assert made["matches"] is None
        assert made["differing"] > 0.3
    prepared = ImageStore(tmp_path / "x4").index
    for wrong in (pil["coffeex4"][::-1], 255 - pil["coffeex4"], np.zeros_like(pil["coffeex4"]), noisy // 8 + 200):
        save(hr / "LR_bicubic" / "X4", coffeex4=wrong)
        with pytest.raises(SisrError, match=r"coffeex4\.png is not a reduction of its HR image .*coffee\.png at x4"):
            prepare_lr(hr, 4, tmp_path / "x4")
        with pytest.raises(SisrError, match="is not a reduction of its HR image"):
            open_pairs(hr, 4).hr(1)
    assert ImageStore(tmp_path / "x4").index == prepared


def test_lr_of_a_flat_image_is_its_reduction(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = (100 + rng.integers(0, 2, (64, 64))).astype(np.uint8)
    folder = save(tmp_path / "set" / "HR", black=np.zeros((64, 64), np.uint8), flat=flat).parent
    save(folder / "LR_bicubic" / "X4", blackx4=np.zeros((16, 16), np.uint8), flatx4=flat[::4, ::4])
    assert len(prepare_lr(folder, 4, tmp_path / "x4")) == 2


@settings(max_examples=40)
@given(
    height=st.integers(20, 70),
    width=st.integers(20, 70),
    scale=st.sampled_from([2, 3, 4]),
    made_at=st.sampled_from([2, 3, 4, 8]),
    multiple=st.sampled_from([1, 12]),
)
def test_lr_of_another_scale_is_refused_with_its_size(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, scale: int, made_at: int, multiple: int
) -> None:
    """LR of HR cropped to a multiple of the scale or of 12 is used, LR of any other scale is not."""
    folder = tmp_path_factory.mktemp("set")
    hr = pictures.coffee()[100 : 100 + height, 200 : 200 + width]
    if min(height, width) < 48:
        multiple = 1
    whole = hr[: height - height % multiple, : width - width % multiple]
    lr = reduce(whole, made_at)
    save(folder / "HR", one=hr)
    save(folder / "LR_bicubic" / f"X{scale}", **{f"onex{scale}": lr})
    if made_at == scale:
        pairs = open_pairs(folder, scale)
        np.testing.assert_array_equal(pairs.lr(0), lr)
        assert pairs.hr(0).shape == (lr.shape[0] * scale, lr.shape[1] * scale, 3)
        assert prepare_lr(folder, scale, folder / "out").shapes == [lr.shape]
    else:
        for call in (lambda: open_pairs(folder, scale).check(0), lambda: prepare_lr(folder, scale, folder / "out")):
            with pytest.raises(
                SisrError, match=rf"onex{scale}\.png is {lr.shape[0]} x {lr.shape[1]}, .*{height} x {width}"
            ):
                call()
        assert not (folder / "out").exists()


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


def test_grey_lr_of_a_colour_image_is_refused(tmp_path: Path) -> None:
    coffee, camera = pictures.coffee()[:64, :80], pictures.camera()[:64, :80]
    folder = save(tmp_path / "set" / "HR", coffee=coffee, camera=camera).parent
    lr = {"coffeex4": reduce(coffee, 4), "camerax4": reduce(camera, 4)}
    for grey, hr, lr_kind in (("coffeex4", "RGB", "greyscale"), ("camerax4", "greyscale", "RGB")):
        other = lr[grey][..., 0] if lr_kind == "greyscale" else np.repeat(lr[grey][..., None], 3, axis=2)
        save(folder / "LR_bicubic" / "X4", **{**lr, grey: other})
        i = ["camera", "coffee"].index(grey.removesuffix("x4"))
        for call in (lambda i=i: open_pairs(folder, 4).hr(i), lambda: prepare_lr(folder, 4, tmp_path / "x4")):
            with pytest.raises(SisrError, match=rf"{grey}\.png .* it is {lr_kind} but HR is {hr}"):
                call()


def test_two_lr_files_of_one_image_are_refused(tmp_path: Path) -> None:
    camera = pictures.camera()[:64, :64]
    folder = save(tmp_path / "set" / "HR", camera=camera, other=camera).parent
    save(folder / "LR_bicubic" / "X4", camerax4=camera[::4, ::4], camera=camera[::4, ::4], otherx4=camera[::4, ::4])
    for call in (lambda: open_pairs(folder, 4), lambda: prepare_lr(folder, 4, tmp_path / "x4")):
        with pytest.raises(SisrError, match=r"camera\.png and camerax4\.png in .* are both an LR of camera at x4"):
            call()


@pytest.mark.parametrize("names", [("LR_bicubic", "x4"), ("lr_bicubic", "X4"), ("LR_Bicubic", "x4")])
def test_folders_of_lr_are_found_in_any_case(tmp_path: Path, names: tuple[str, str]) -> None:
    camera = pictures.camera()
    folder = save(tmp_path / "set" / "hr", camera=camera).parent
    save(folder / names[0] / names[1], camerax4=reduce(camera, 4, "replicate"))
    np.testing.assert_array_equal(open_pairs(folder, 4).lr(0), reduce(camera, 4, "replicate"))
    assert prepare_lr(folder, 4, tmp_path / "x4").index["lr"]["matches"] == "replicate"
    other = folder / names[0] / names[1].swapcase()
    other.mkdir()
    if len(list((folder / names[0]).iterdir())) == 2:  # not where the file system ignores case
        with pytest.raises(SisrError, match="differ only in case"):
            open_pairs(folder, 4)


@settings(max_examples=60)
@given(
    names=st.lists(
        st.sampled_from(["knock_out", "size", "size_x4", "size_x2", "knock", "x4", "baby", "baby-GT", "max4", "0001"]),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    mark=st.sampled_from(["", "x4", "_x4", "_bicLRx4", "_LRBI_x4", "_RCAN_x4", "_SRF_4_LR", "-out", "_x4_SR"]),
)
def test_lr_is_found_whatever_the_names_end_with(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], mark: str
) -> None:
    folder = tmp_path_factory.mktemp("set")
    save(folder / "HR", **dict.fromkeys(names, np.zeros((8, 8), dtype=np.uint8)))
    images = list(hr_files(folder))
    save(folder / "LR_bicubic" / "X4", **{f"{name}{mark}": np.zeros((2, 2), dtype=np.uint8) for name in names})
    found = lr_files(folder, 4, images)
    assert found is not None
    hr = hr_files(folder)
    assert {name: path.stem for name, path in found.items()} == {name: hr[name].stem + mark for name in images}


def test_a_file_that_may_be_of_two_images_is_refused_with_both_rules(tmp_path: Path) -> None:
    image = np.zeros((8, 8), dtype=np.uint8)
    folder = save(tmp_path / "HR", size=image, size_x4=image, other=image).parent
    save(folder / "LR_bicubic" / "X4", size_x4=image[:2, :2], otherx4=image[:2, :2])
    with pytest.raises(SisrError) as caught:
        lr_files(folder, 4, hr_files(folder))
    assert "size_x4.png, which is taken as size_x4 with no suffix but could be size with the suffix _x4" in str(
        caught.value
    )


def test_a_killed_prepare_leaves_nothing_behind_the_next(tmp_path: Path) -> None:
    script = f"""
import sys, time
import numpy as np
from sisr.data.store import write
def images():
    yield "a", np.zeros((8, 8), dtype=np.uint8)
    print("ready", flush=True)
    time.sleep(60)
write({str(tmp_path / "hr")!r}, images(), {{}})
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (left,) = tmp_path.iterdir()
        write(tmp_path / "hr", [("b", np.zeros((8, 8), dtype=np.uint8))], {})
        assert left.is_dir()  # of a process that runs
        process.kill()
    write(tmp_path / "hr", [("b", np.zeros((8, 8), dtype=np.uint8))], {})
    assert [path.name for path in tmp_path.iterdir()] == ["hr"]
    assert sorted(path.name for path in (tmp_path / "hr").iterdir()) == ["index.json", "pixels.bin"]


def test_prepare_finds_an_unusable_output_before_it_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "set" / "HR", camera=pictures.camera()).parent
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sisr.data.prepare.read_image", lambda path: pytest.fail(f"{path} is decoded"))
    for call in (prepare_hr, lambda folder, output: prepare_lr(folder, 4, output)):
        with pytest.raises(SisrError, match="file"):
            call(folder, tmp_path / "file" / "hr")
    free = shutil.disk_usage(tmp_path)._replace(free=200_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(SisrError, match=r"needs 0\.3 MB, but .* has 0\.2 MB free"):
        prepare_hr(folder, tmp_path / "hr")


def test_a_mark_of_all_names_is_no_part_of_them(tmp_path: Path) -> None:
    image = np.zeros((8, 8), dtype=np.uint8)
    assert list(hr_files(save(tmp_path / "a", baby_HR_x4=image, bird_HR_x4=image))) == ["baby", "bird"]
    assert list(hr_files(save(tmp_path / "b", baby_x4=image, bird=image))) == ["baby_x4", "bird"]
    assert list(hr_files(save(tmp_path / "c" / "HR", one=image).parent)) == ["one"]
    assert list(hr_files(save(tmp_path / "d", size_x4=image))) == ["size_x4"]
    assert list(hr_files(save(tmp_path / "e", knock_out=image, black_out=image))) == ["black_out", "knock_out"]
    assert list(hr_files(save(tmp_path / "f", baby_GT=image))) == ["baby"]
