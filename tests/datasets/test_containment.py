"""Images outside the folder of their dataset, by `..`, absolute paths and links."""

import os

import pytest
from PIL import Image

from errors import InputError
from misc.datasets.check_text import check_text
from misc.datasets.containment import outside
from misc.datasets.text_person import read_text_person
from tests.datasets.own_records import records


@pytest.fixture
def root(tmp_path):
    """A folder with images, next to another one."""
    for name in ("root/a/1.png", "root/b/2.png", "else/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8)).save(tmp_path / name)
    return tmp_path / "root"


def test_images_outside_are_told_from_those_inside(root):
    elsewhere = root.parent / "else" / "3.png"
    (root / "a" / "out.png").symlink_to(elsewhere)
    (root / "a" / "in.png").symlink_to("../b/2.png")
    (root / "a" / "nowhere.png").symlink_to("absent")
    (root / "folder").symlink_to(root.parent / "else")
    (root / "inner").symlink_to("b")
    inside = ["a/1.png", "a/in.png", "a/nowhere.png", "a/../b/2.png", "inner/2.png", "x/y.png"]
    inside.append(str(root / "a" / "1.png"))
    strays = ["a/out.png", "folder/3.png", "../else/3.png", str(elsewhere), "a/../../else/3.png"]
    assert outside([*inside, *strays], root) == dict.fromkeys(strays, elsewhere)
    assert outside(["folder/../root/a/1.png"], root) == {}  # `..` of a link is that of its target


def test_a_root_that_is_a_link_is_none_of_its_images_fault(root):
    (root.parent / "link").symlink_to("root")
    assert outside(["a/1.png", "b/2.png"], root.parent / "link") == {}


@pytest.mark.parametrize("way", ["..", "absolute", "link", "folder"])
def test_a_dataset_with_an_image_outside_is_refused_unless_allowed(dataset, tmp_path, way):
    elsewhere = tmp_path / "else" / "0.png"
    elsewhere.parent.mkdir()
    Image.new("RGB", (4, 8)).save(elsewhere)
    path = {"..": "../else/0.png", "absolute": str(elsewhere), "link": "a/0.png"}.get(
        way, "f/0.png"
    )
    file, root = dataset(records({"file_path": path}))
    if way == "link":
        (root / path).unlink()
        (root / path).symlink_to(elsewhere)
    if way == "folder":
        (root / path).unlink()
        (root / "f").rmdir()
        (root / "f").symlink_to(elsewhere.parent)
    with pytest.raises(
        InputError, match=r"data\.image_root: 1 of the images lie outside .*allow_o"
    ):
        read_text_person(str(file), str(root))
    allowed = read_text_person(str(file), str(root), allow_outside=True)
    assert len(allowed.splits["train"]) == 2

    (finding,) = check_text(file, root).findings
    assert (finding.kind, finding.number) == ("outside_picture", 1)
    assert finding.examples[0].endswith(f"record 0: {path} ({elsewhere})")
    assert check_text(file, root, allow_outside=True).findings == ()


def test_the_check_finds_pipes_without_opening_them(dataset):
    file, root = dataset(records())
    (root / "a" / "0.png").unlink()
    os.mkfifo(root / "a" / "0.png")
    (finding,) = check_text(file, root).findings
    assert (finding.kind, finding.number) == ("unreadable_picture", 1)
    assert "is a folder, pipe or device" in finding.examples[0]
