"""The catalogue, and recognising sets by content in other people's layouts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling
from skimage import data as pictures

from sisr.data import catalog
from sisr.data.catalog import known
from sisr.data.fetch import fetch
from sisr.data.folder_layouts import groups
from sisr.data.image_files import list_images, match_name, pixel_hash, plain_name, read_image
from sisr.data.imresize import imresize
from sisr.data.verify import LrOrigin, check
from sisr.utils.errors import SisrError, UsageError

TEST_SETS = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100}


def hr(reference_data: Path, name: str) -> list[Path]:
    return list_images(reference_data / "benchmarks" / name / "HR")


def save(image: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def test_the_catalogue_knows_every_set_with_licence_and_source() -> None:
    sets = known()
    assert list(sets) == [
        *("DIV2K", "DIV2K-valid", "Flickr2K", "DF2K", "LSDIR", "BSDS400", "T91"),
        *("Set5", "Set14", "B100", "Urban100", "Manga109", "photographs", "photographs-test"),
    ]
    for name, dataset in sets.items():
        for text in (dataset.title, dataset.licence, dataset.terms, dataset.cite, dataset.homepage):
            assert text.strip(), name
        assert dataset.role in ("train", "test")
        assert bool(dataset.sources) + bool(dataset.bundled) + bool(dataset.apply) == 1, name
        assert dataset.names == () or len(dataset.names) == dataset.images
        for source in (*dataset.sources, *dataset.lr_sources.values()):
            assert source.addresses
            assert all(address.startswith(("https://", "http://")) for address in source.addresses)
            assert source.md5 is None or len(bytes.fromhex(source.md5)) == 16
    assert sets["DIV2K"].names[::799] == ("0001", "0800")
    assert sets["DIV2K-valid"].names[::99] == ("0801", "0900")
    assert sets["Flickr2K"].names[::2649] == ("000001", "002650")
    assert sets["DF2K"].images == sets["DIV2K"].images + sets["Flickr2K"].images
    assert "on request" in sets["LSDIR"].apply
    assert len(sets["BSDS400"].names) == 400
    assert not set(sets["BSDS400"].names) & set(sets["B100"].names)  # what is measured on is never trained on
    assert "request" in sets["Manga109"].apply
    assert not sets["Manga109"].fingerprints


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    image = save(np.zeros((8, 8, 3), np.uint8), tmp_path / "elsewhere" / "HR" / "baby.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "Set5").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root)
    (group,) = groups(root, known()["Set5"])
    assert [path.resolve() for path in group.files] == [image.resolve()]


@pytest.mark.parametrize("name", TEST_SETS)
def test_hashes_are_of_every_image(name: str) -> None:
    prints = known()[name].fingerprints
    assert len(prints) == TEST_SETS[name] == known()[name].images
    everything = [value for one in prints.values() for value in (one.sha256, *one.crops.values())]
    assert all(len(bytes.fromhex(value)) == 32 for value in everything)
    assert len({one.sha256 for one in prints.values()}) == len(prints)
    for one in prints.values():
        for multiple in (2, 3, 4, 12):
            assert (multiple in one.crops) == (one.height % multiple != 0 or one.width % multiple != 0)


def test_bsds400_is_recognised_within_bsds500(reference_data: Path) -> None:
    """The rest of BSDS500 is B100, and must not get into the training set."""
    training, others = list_images(reference_data / "train" / "BSDS400"), hr(reference_data, "B100")
    report = check([*others, *training], known()["BSDS400"])
    assert report.complete
    assert {found.path for found in report.found.values()} == set(training)
    assert len(report.extra) == 100
    assert len(check(training[:150], known()["BSDS400"]).missing) == 250


def test_a_set_that_lies_in_two_folders_is_put_together(reference_data: Path, tmp_path: Path) -> None:
    files = hr(reference_data, "Set5")
    for index, path in enumerate(files):
        folder = tmp_path / "copy" / ("train" if index % 2 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    got = fetch(known()["Set5"], tmp_path / "data", origin=tmp_path / "copy", quiet=True)
    assert [path.name for path in list_images(got.folder / "HR")] == [path.name for path in files]
    shutil.rmtree(tmp_path / "copy" / "test")
    with pytest.raises(SisrError, match="3 missing"):
        fetch(known()["Set5"], tmp_path / "other", origin=tmp_path / "copy", quiet=True)


def test_t91_is_recognised_by_its_pixels(reference_data: Path) -> None:
    report = check(list_images(reference_data / "train" / "T91"), known()["T91"])
    assert report.complete
    assert report.checked == 90  # t36 and t65 are one image twice; the second is taken by its name


@pytest.mark.parametrize("name", TEST_SETS)
def test_real_copies_are_complete(reference_data: Path, name: str) -> None:
    report = check(hr(reference_data, name), known()[name])
    assert report.complete
    assert report.checked == TEST_SETS[name]
    assert not report.extra
    assert not report.notes


def test_names_do_not_matter_but_pixels_do(reference_data: Path, tmp_path: Path) -> None:
    files = hr(reference_data, "Set5")
    renamed = [shutil.copy(path, tmp_path / f"img_{i:03d}_SRF_4_HR.png") for i, path in enumerate(files, 1)]
    report = check(renamed, known()["Set5"])
    assert report.complete
    assert report.found["baby"].path.name == "img_001_SRF_4_HR.png"
    swapped = {"baby": files[1], "bird": files[0], **{path.stem: path for path in files[2:]}}
    assert check(swapped, known()["Set5"]).found["baby"].path == files[0]


def test_missing_extra_and_altered_are_listed_by_name(reference_data: Path, tmp_path: Path) -> None:
    files = [shutil.copy(path, tmp_path) for path in hr(reference_data, "Set5")]
    image = read_image(tmp_path / "bird.png").copy()
    image[5, 5, 0] ^= 1
    save(image, tmp_path / "bird.png")
    (tmp_path / "woman.png").unlink()
    save(pictures.coffee(), tmp_path / "coffee.png")
    files = list_images(tmp_path)
    report = check(files, known()["Set5"])
    assert not report.complete
    assert report.missing == ["woman"]
    assert report.altered == {"bird": "other pixels"}
    assert report.extra == ["coffee.png"]
    for word in ("woman", "bird: other pixels", "coffee.png", "3 of its 5"):
        assert word in str(report)


def test_half_size_urban100_is_named(reference_data: Path, tmp_path: Path) -> None:
    for i, path in enumerate(hr(reference_data, "Urban100")[:12], 1):
        save(imresize(read_image(path), 1 / 2), tmp_path / f"img_{i:03d}_SRF_2_HR.png")
    report = check(list_images(tmp_path), known()["Urban100"])
    assert not report.found
    assert len(report.altered) == 12
    assert any("half the expected size" in note and "x4 folder" in note for note in report.notes)


def test_another_set_of_the_same_name_is_named(reference_data: Path) -> None:
    strangers = list_images(reference_data / "train" / "BSDS400")[:95] + hr(reference_data, "B100")[:5]
    report = check(strangers, known()["B100"])
    assert not report.complete
    assert len(report.found) == 5
    assert any("only 5 of these 100" in note for note in report.notes)


def test_bridge_as_rgb_is_recognised_and_taken_as_greyscale(reference_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Set14" / "original"
    folder.mkdir(parents=True)
    for path in hr(reference_data, "Set14"):
        shutil.copy(path, folder)
    Image.open(folder / "bridge.png").convert("RGB").save(folder / "bridge.png")
    lr = tmp_path / "Set14" / "LRbicx4"
    shutil.copytree(reference_data / "benchmarks" / "Set14" / "LR_bicubic" / "X4", lr)
    Image.open(lr / "bridgex4.png").convert("RGB").save(lr / "bridgex4.png")
    report = check(list_images(folder), known()["Set14"])
    assert report.complete
    assert any("bridge is greyscale but stored as RGB" in note for note in report.notes)
    got = fetch(known()["Set14"], tmp_path / "data", origin=tmp_path / "Set14", quiet=True)
    assert read_image(got.folder / "HR" / "bridge.png").ndim == 2
    assert read_image(got.folder / "LR_bicubic" / "X4" / "bridgex4.png").ndim == 2


def test_images_cropped_to_a_multiple_are_recognised_and_said(reference_data: Path, tmp_path: Path) -> None:
    for path in hr(reference_data, "Set5"):
        image = read_image(path)
        save(image[: image.shape[0] // 12 * 12, : image.shape[1] // 12 * 12], tmp_path / "GTmod12" / path.name)
    report = check(list_images(tmp_path / "GTmod12"), known()["Set5"])
    assert report.complete
    assert report.found["baby"].crop == 12
    assert report.found["bird"].crop == 1  # 288 x 288
    assert any("cropped to a multiple of 12" in note for note in report.notes)


LAYOUTS = ["Set5/HR", "benchmark/Set5/HR", "flat", "Set5/original", "Set5_HR", "Set5/image_SRF_4", "Set5/GT"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_usual_layouts_are_understood(reference_data: Path, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "copy"
    folder = root if layout == "flat" else root / layout
    folder.mkdir(parents=True)
    for i, path in enumerate(hr(reference_data, "Set5"), 1):
        if layout.endswith("SRF_4"):  # Huang et al.: HR, LR and the results of methods side by side
            image = read_image(path)
            save(image, folder / f"img_{i:03d}_SRF_4_HR.png")
            save(imresize(image, 1 / 4, "replicate"), folder / f"img_{i:03d}_SRF_4_LR.png")
            save(image[::-1], folder / f"img_{i:03d}_SRF_4_bicubic.png")
        else:
            shutil.copy(path, folder)
    if layout.startswith("benchmark"):
        shutil.copytree(reference_data / "benchmarks" / "Set14" / "HR", root / "benchmark" / "Set14" / "HR")
        shutil.copytree(
            reference_data / "benchmarks" / "Set5" / "LR_bicubic", root / "benchmark" / "Set5" / "LR_bicubic"
        )
    got = fetch(known()["Set5"], tmp_path / "data", origin=root, quiet=True)
    assert got.report.complete
    assert [path.name for path in list_images(got.folder / "HR")] == [
        *("baby.png", "bird.png", "butterfly.png", "head.png", "woman.png")
    ]
    lr = sorted(path.relative_to(got.folder).as_posix() for path in got.folder.rglob("*x4.png"))
    if layout.startswith("benchmark"):
        assert lr == [f"LR_bicubic/X4/{name}x4.png" for name in known()["Set5"].names]
        assert got.lr == dict.fromkeys((2, 4), "equal to today's MATLAB (symmetric border)")
        assert got.notes == []
    elif layout.endswith("SRF_4"):
        assert len(lr) == 5
        assert got.lr == {4: "equal to older MATLAB (replicate border)"}
        assert len(got.notes) == 1
    else:
        assert lr == []
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["Set5"]


def test_basicsr_layout_prefers_whole_images(reference_data: Path, tmp_path: Path) -> None:
    for path in hr(reference_data, "Set5"):
        image = read_image(path)
        save(image, tmp_path / "Set5" / "original" / path.name)
        cut = image[: image.shape[0] // 12 * 12, : image.shape[1] // 12 * 12]
        save(cut, tmp_path / "Set5" / "GTmod12" / path.name)
        save(imresize(cut, 1 / 4), tmp_path / "Set5" / "LRbicx4" / path.name)
    got = fetch(known()["Set5"], tmp_path / "data", origin=tmp_path / "Set5", quiet=True)
    assert not got.report.notes
    assert read_image(got.folder / "HR" / "baby.png").shape == (512, 512, 3)
    assert not got.lr  # LR of the cropped images does not belong to the whole ones


def test_a_folder_that_is_something_else_is_refused(reference_data: Path, tmp_path: Path) -> None:
    with pytest.raises(SisrError, match=r"not Set5.*0 of its 5"):
        fetch(known()["Set5"], tmp_path, origin=reference_data / "benchmarks" / "Set14" / "HR", quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SisrError, match="no HR images"):
        fetch(known()["Set5"], tmp_path, origin=tmp_path / "empty", quiet=True)
    with pytest.raises(SisrError, match="does not exist"):
        fetch(known()["Set5"], tmp_path, origin=tmp_path / "nowhere", quiet=True)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SisrError, match="neither a folder nor an archive"):
        fetch(known()["Set5"], tmp_path, origin=tmp_path / "notes.txt", quiet=True)
    assert not (tmp_path / "Set5").exists()


def test_a_damaged_set_that_is_there_is_named_and_replaced_on_request(tmp_path: Path) -> None:
    dataset = known()["photographs-test"]
    folder = fetch(dataset, tmp_path, quiet=True).folder
    assert fetch(dataset, tmp_path, quiet=True).came_from == "there already"
    (folder / "HR" / "coffee.png").unlink()
    with pytest.raises(SisrError, match=r"1 missing \(coffee\).*--again"):
        fetch(dataset, tmp_path, quiet=True)
    assert fetch(dataset, tmp_path, again=True, quiet=True).report.complete


def test_bundled_photographs_are_what_scikit_image_shows(tmp_path: Path) -> None:
    for name in ("photographs", "photographs-test"):
        assert fetch(known()[name], tmp_path, quiet=True).report.complete
    folder = tmp_path / "photographs-test" / "HR"
    np.testing.assert_array_equal(read_image(folder / "camera.png"), pictures.camera())
    np.testing.assert_array_equal(read_image(folder / "coffee.png"), pictures.coffee())
    retina = read_image(tmp_path / "photographs" / "HR" / "retina.png")
    np.testing.assert_array_equal(retina, pictures.retina())
    assert catalog.present(tmp_path) == ["photographs-test"]
    assert catalog.present(tmp_path, "train") == ["photographs"]
    assert catalog.present(tmp_path / "nowhere") == []


def test_sets_without_hashes_are_checked_by_name_or_number(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    div2k = known()["DIV2K-valid"]
    for name in div2k.names:
        save(image, tmp_path / "copy" / "DIV2K_valid_HR" / f"{name}.png")
        save(image[:2, :2], tmp_path / "copy" / "DIV2K_valid_LR_bicubic" / "X4" / f"{name}x4.png")
    for name in known()["DIV2K"].names[:3]:
        save(image, tmp_path / "copy" / "DIV2K_train_HR" / f"{name}.png")
    got = fetch(div2k, tmp_path / "data", origin=tmp_path / "copy", quiet=True)
    assert got.report.checked == 0
    assert len(got.report.found) == 100
    assert len(list((got.folder / "LR_bicubic" / "X4").iterdir())) == 100
    with pytest.raises(SisrError, match="797 missing"):
        fetch(known()["DIV2K"], tmp_path / "data", origin=tmp_path / "copy", quiet=True)
    for i in range(109):
        save(image, tmp_path / "manga" / f"title{i}.png")
    assert len(fetch(known()["Manga109"], tmp_path, origin=tmp_path / "manga", quiet=True).report.found) == 109
    with pytest.raises(SisrError, match="109"):
        fetch(known()["Manga109"], tmp_path, origin=tmp_path / "copy" / "DIV2K_train_HR", quiet=True)
    with pytest.raises(SisrError, match="apply at"):
        fetch(known()["Manga109"], tmp_path / "elsewhere", quiet=True)


def test_misspelt_names_get_a_suggestion() -> None:
    assert catalog.find("Set5").name == "Set5"
    for wrong, right in {"set5": "Set5", "urban10": "Urban100", "BSD100": "B100", "div2k": "DIV2K"}.items():
        with pytest.raises(UsageError, match=f"did you mean {right}"):
            catalog.find(wrong)
    with pytest.raises(UsageError, match="there are DIV2K"):
        catalog.find("zzzz")


def test_a_catalogue_that_is_none_is_refused(tmp_path: Path) -> None:
    for text, word in [("sets: 3", "catalogue"), ("schema: 99\nsets: {}", "format 99"), ("a: [", "not a catalogue")]:
        (tmp_path / f"{word}.yaml").write_text(text)
        with pytest.raises(SisrError, match=word):
            known(tmp_path / f"{word}.yaml")
    with pytest.raises(SisrError, match="cannot be read"):
        known(tmp_path / "nowhere.yaml")


def test_how_lr_was_made_is_told() -> None:
    image = pictures.coffee()
    ways = {
        "today's MATLAB": imresize(image, 1 / 4),
        "older MATLAB": imresize(image, 1 / 4, "replicate"),
        "PIL (bicubic)": np.asarray(Image.fromarray(image).resize((150, 100), Resampling.BICUBIC)),
        "a port of imresize": np.clip(np.floor(imresize(image.astype(float), 1 / 4) + 0.5), 0, 255).astype(np.uint8),
        "100.0% of values differ": 255 - np.full((100, 150, 3), 128, dtype=np.uint8),
    }
    for words, lr in ways.items():
        origin = LrOrigin()
        origin.add(image, lr, 4)
        if words.startswith("100"):
            assert "differ from MATLAB's" in str(origin)
        else:
            assert words in str(origin)


def test_pixel_hash_sees_size_and_channels() -> None:
    flat = np.zeros((4, 6), dtype=np.uint8)
    variants = [flat, flat.reshape(6, 4), flat.reshape(4, 2, 3), flat + 1]
    assert len({pixel_hash(image) for image in variants}) == 4
    assert pixel_hash(np.asfortranarray(pictures.coffee())) == pixel_hash(pictures.coffee())


def test_names_of_lr_and_sr_files() -> None:
    for stem in ("baby", "babyx4", "baby_x4", "baby_x4_SR", "baby_HR_x4", "baby_SRF_4_HR", "baby-out"):
        assert plain_name(stem) in ("baby", "baby_SRF_4"), stem
    assert plain_name("babyx4", 2) == "babyx4"
    names = ["baby", "img_001", "img_0010", "12"]
    for stem in ("baby", "babyx4", "baby_x4_SR", "baby_RCAN_x4", "baby-out", "baby_SRF_4_HR"):
        assert match_name(stem, names, 4) == "baby", stem
    for stem in ("babylon", "baby_x2", "babyx2", "lady", "ababy"):
        assert match_name(stem, names, 4) is None, stem
    assert match_name("img_0010_x4", names, 4) == "img_0010"
    assert match_name("img_001_x4", names, 4) == "img_001"
    assert match_name("12_ENLCN_x4", names, 4) == "12"
