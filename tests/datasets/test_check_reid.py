"""The check of re-identification datasets: planted faults, in drawn datasets and in small ones."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import options
from errors import InputError
from misc.datasets.check import main
from misc.datasets.check_reid import check_reid
from misc.datasets.finding import EXAMPLES, Report
from misc.datasets.reid import PUBLISHED, read_reid
from misc.synthetic.writing import write_reid_dataset

RECIPE = str(options.RECIPES / "clipreid_vit.yaml")
LAYOUTS = ("market1501", "msmt17", "dukemtmc", "occluded-duke", "veri776", "vehicleid")
FOLDERS = {"market1501": "Market-1501-v15.09.15", "vehicleid": "VehicleID_V1.0"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reid")
    for layout in LAYOUTS:
        people = {"train": 3, "test": 4}
        write_reid_dataset(layout, folder, identities=people, images=(4, 5), height=(32, 40))
    return folder


@pytest.fixture
def root(drawn, tmp_path):
    """A copy of a drawn dataset, to plant faults in."""

    def copy(layout: str) -> Path:
        name = FOLDERS.get(layout, layout.upper())
        return shutil.copytree(drawn / name, tmp_path / name)

    return copy


@pytest.fixture
def market(tmp_path):
    """Writes one's own pictures in Market-1501's layout, no two of them the same."""

    def write(*more: str) -> Path:
        names = [
            "bounding_box_train/0002_c1_0.png",
            "bounding_box_train/0002_c2_0.png",
            "query/0001_c1_0.png",
            "bounding_box_test/0000_c1_0.png",
            "bounding_box_test/0001_c2_0.png",
            *more,
        ]
        for number, name in enumerate(names):
            file = tmp_path / "own" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8), (number, 0, 0)).save(file)
        return tmp_path / "own"

    return write


def found(report: Report) -> dict[str, int]:
    return {finding.kind: finding.number for finding in report.findings}


def examples(report: Report) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.examples for finding in report.findings}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_drawn_dataset_is_clean_but_smaller_than_the_published(drawn, layout):
    report = check_reid(layout, drawn)
    assert report.findings == ()
    dataset = read_reid(layout, drawn)
    assert report.dataset == dataset.name
    for split in ("train", "query", "gallery"):
        assert report.counts[split].pictures == len(getattr(dataset, split))
    expected = {"vehicleid": 13164, "market1501": 751, "msmt17": 1041, "veri776": 575}
    (remark,) = report.remarks
    assert remark.startswith(f"Sizes differ from published {dataset.name}: train ")
    assert f" images ({PUBLISHED[layout].counts['train'].pictures:,}), " in remark
    assert f", 3 identities ({expected.get(layout, 702):,}); " in remark
    assert str(report).startswith(f"{dataset.name}\ntrain   {len(dataset.train)} images, 3 ident")
    assert str(report).endswith("No problems found")


def test_pictures_at_fault_are_found(root):
    folder = root("msmt17")
    lines = (folder / "list_gallery.txt").read_text().splitlines()
    gone = lines[0].split()[0]
    cut, text = (lines[n].split()[0] for n in (1, 2))
    (folder / "test" / gone).unlink()
    (folder / "test" / cut).write_bytes((folder / "test" / cut).read_bytes()[:300])
    (folder / "test" / text).write_text("<html>")
    people = {int(line.split()[1]) for line in (folder / "list_train.txt").read_text().splitlines()}
    shutil.rmtree(folder / "train" / f"{max(people):04d}")
    report = check_reid("msmt17", folder)
    kinds = found(report)
    assert kinds.pop("missing_folder") >= 4
    assert kinds == {"missing_picture": 1, "unreadable_picture": 2}
    shown = examples(report)
    assert shown["missing_folder"][0].startswith(f"{folder}/train/{max(people):04d}: ")
    place = f"{folder}/list_gallery.txt, line 1: {folder}/test/{gone}"
    assert shown["missing_picture"] == (place,)
    begins = tuple(f"image {folder}/test/{name} cannot be read (" for name in (cut, text))
    assert sorted(line.split("(")[0] + "(" for line in shown["unreadable_picture"]) == sorted(
        begins
    )


def test_a_picture_that_a_list_names_again_is_found(root):
    folder = root("msmt17")
    first = (folder / "list_train.txt").read_text().splitlines()[0]
    with (folder / "list_val.txt").open("a") as file:
        file.write(f"{first}\n")
    number = len((folder / "list_val.txt").read_text().split("\n")) - 1
    shown = examples(check_reid("msmt17", folder))
    name = f"{folder}/train/{first.split()[0]}"
    assert shown == {"repeated_picture": (f"{folder}/list_val.txt, line {number}: {name}",)}


def test_identities_that_are_hard_to_learn_from_are_no_fault(market):
    alone, near = "bounding_box_train/0008_c1_0.png", "bounding_box_train/0009_c3_0.png"
    folder = market(alone, near, "bounding_box_train/0009_c3_1.png")
    report = check_reid("market1501", folder)
    assert report.findings == ()
    assert report.remarks[-2:] == (
        f"training identities with a single image: 1 (first: {folder}/{alone})",
        f"training identities with images of one camera only: 1 (first: {folder}/{near})",
    )


def test_without_cameras_nobody_is_seen_by_one_camera(drawn):
    assert "camera" not in str(check_reid("vehicleid", drawn))


def test_queries_without_a_match_under_another_camera_are_found(market):
    near, stranger = "query/0001_c2_0.png", "query/0005_c2_0.png"
    folder = market(near, stranger)
    shown = examples(check_reid("market1501", folder))
    assert shown == {"unmatched_query": (f"{folder}/{near}", f"{folder}/{stranger}")}


def test_a_dataset_of_which_no_query_has_a_match_is_still_checked(market):
    folder = market()
    (folder / "bounding_box_test/0001_c2_0.png").unlink()
    assert found(check_reid("market1501", folder)) == {"unmatched_query": 1}
    with pytest.raises(InputError, match="no query has its identity in the gallery"):
        read_reid("market1501", folder)


def test_an_identity_in_train_and_test_is_found(market):
    folder = market("query/0002_c1_0.png", "bounding_box_test/0002_c2_0.png")
    shown = examples(check_reid("market1501", folder))
    one, other = f"{folder}/bounding_box_train/0002_c1_0.png", f"{folder}/query/0002_c1_0.png"
    assert shown == {
        "identity_in_train_and_test": (f"identity 2: {one} (train) and {other} (test)",)
    }


def test_msmt17_numbers_its_people_apart(drawn):
    written = (drawn / "MSMT17" / name for name in ("list_train.txt", "list_gallery.txt"))
    train, test = ({line.split()[1] for line in file.read_text().splitlines()} for file in written)
    assert train & test
    assert found(check_reid("msmt17", drawn)) == {}


def test_a_picture_in_train_and_test_is_found_once(root):
    folder = root("vehicleid")
    lists = folder / "train_test_split"
    name = (lists / "test_list_800.txt").read_text().split()[0]
    with (lists / "train_list.txt").open("a") as file:
        file.write(f"{name} 999\n")
    shown = examples(check_reid("vehicleid", folder))
    assert shown == {"picture_in_train_and_test": (f"{folder}/image/{name}.jpg",)}


@pytest.mark.parametrize(
    ("copy", "says"),
    [
        ("bounding_box_train/0007_c2_0.png", "train, identity 7, camera 2"),
        ("bounding_box_train/0002_c3_0.png", "train, identity 2, camera 3"),
        ("bounding_box_test/0004_c1_0.png", "test, identity 4, camera 1"),
    ],
)
def test_identical_pictures_with_different_labels_are_found(market, copy, says):
    original = "bounding_box_train/0002_c1_0.png"
    folder = market(copy)
    shutil.copy(folder / original, folder / copy)
    first, second = (
        f"{folder}/{original} (train, identity 2, camera 1)",
        f"{folder}/{copy} ({says})",
    )
    assert examples(check_reid("market1501", folder)) == {
        "identical_pictures": (f"{first} and {second}",)
    }


def test_identical_pictures_with_the_same_label_are_no_fault(market):
    folder = market("bounding_box_train/0002_c1_7.png", "bounding_box_test/0001_c1_0.png")
    shutil.copy(
        folder / "bounding_box_train/0002_c1_0.png", folder / "bounding_box_train/0002_c1_7.png"
    )
    shutil.copy(folder / "query/0001_c1_0.png", folder / "bounding_box_test/0001_c1_0.png")
    assert found(check_reid("market1501", folder)) == {}


def test_unreadable_pictures_are_not_compared(market):
    names = ("bounding_box_train/0007_c1_0.png", "bounding_box_train/0008_c1_0.png")
    folder = market(*names)
    for name in names:
        (folder / name).write_bytes(b"")
    assert found(check_reid("market1501", folder)) == {"unreadable_picture": 2}


def test_only_the_first_examples_are_shown(market):
    folder = market(*(f"query/{1000 + n}_c2_0.png" for n in range(EXAMPLES + 3)))
    report = check_reid("market1501", folder)
    assert found(report) == {"unmatched_query": EXAMPLES + 3}
    assert str(report).endswith("  and 3 more")


def test_every_dataset_of_a_recipe_is_checked_once(drawn, market, tmp_path, capsys, caplog):
    own = market("query/0005_c2_0.png")
    msmt17 = f"{{dataset: msmt17, root: {drawn}}}"
    words = (
        f"reid.root={drawn}",
        f"reid.train_sets=[{msmt17}]",
        f"reid.test_sets=[{msmt17}, {{dataset: market1501, root: {own}}}]",
    )
    json_file = tmp_path / "report.json"
    assert main(["--config", RECIPE, *words, "--json", str(json_file)]) == 1
    reports = json.loads(json_file.read_text())
    own_name = f"market1501, {own}"
    assert list(reports) == [f"market1501, {drawn}", f"msmt17, {drawn}", own_name]
    assert [finding["kind"] for finding in reports[own_name]["findings"]] == ["unmatched_query"]
    assert reports[own_name]["counts"]["query"] == {"pictures": 2, "identities": 2}
    printed = capsys.readouterr()
    assert printed.out.count("Queries without a match in the gallery: 1\n") == 1
    assert printed.err == ""
    assert caplog.text == "", "what is printed is not logged, too"
    assert main(["--config", RECIPE, *words[:2]]) == 0


def test_a_folder_of_people_is_checked(market, tmp_path, capsys):
    for person in ("anna", "bob", "安娜"):
        for camera in (1, 2):
            source = next(market().rglob("0002_c1_0.png"))
            file = tmp_path / "people" / person / f"cam{camera}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8), (len(person), camera, 0)).save(file)
    shutil.copy(source, tmp_path / "people/anna/cam1b.png")
    words = ("--config", RECIPE, "reid.dataset=folder", f"reid.root={tmp_path / 'people'}")
    pattern = r"reid.camera_pattern=cam(\d)"
    assert main([*words, pattern]) == 0
    assert "people\ntrain   " in capsys.readouterr().out
    (tmp_path / "people/anna/cam2.png").write_text("no image")
    shutil.copy(source, tmp_path / "people/bob/cam1b.png")
    assert main([*words, pattern]) == 1
    printed = capsys.readouterr().out
    assert "Unreadable images: 1" in printed
    assert "Identical files with different identities, cameras or sides: 1" in printed
    assert main([*words, "reid.camera_pattern=door"]) == 2
    assert "finds no camera in 8 of 8" in capsys.readouterr().err


def test_bad_input_is_one_sentence(drawn, root, capsys):
    folder = root("msmt17")
    (folder / "list_query.txt").write_text("no number\n")
    asked = ["--config", RECIPE]
    assert main(asked) == 2
    assert main([*asked, f"reid.root={drawn / 'nowhere'}"]) == 2
    assert main([*asked, "reid.dataset=market", f"reid.root={drawn}"]) == 2
    assert main([*asked, "reid.dataset=msmt17", f"reid.root={folder}"]) == 2
    assert main([*asked, f"reid.root={drawn}", "--workers", "0"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert all(line.startswith("error: ") for line in errors)
    assert "reid.root=FOLDER" in errors[0]
