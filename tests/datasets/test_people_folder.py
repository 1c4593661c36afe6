"""A folder of people: how it is read and divided. Only names are read, so the images are empty."""

import logging
from collections import defaultdict
from pathlib import Path

import pytest

from errors import InputError
from misc.datasets.people_folder import PeopleDivision
from misc.datasets.reid import ReIDDataset, read_reid

CAMERAS = r"cam(\w+)/"


@pytest.fixture
def touch(tmp_path):
    """Writes empty files below `people`, which is the result."""

    def touch(*names: str) -> Path:
        root = tmp_path / "people"
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return root

    return touch


def many(people: int, images: int = 4) -> list[str]:
    return [f"person {p}/{i}.jpg" for p in range(people) for i in range(images)]


def names(root: Path, pictures) -> list[str]:
    return [Path(picture.path).relative_to(root).as_posix() for picture in pictures]


def people(root: Path, pictures) -> set[str]:
    return {name.split("/")[0] for name in names(root, pictures)}


def test_every_image_is_read_once_and_nobody_is_on_both_sides(touch):
    root = touch(*many(10), "person 0/.thumbnail.jpg", "person 0/.cache/1.jpg", "person 0/x.txt")
    touch(".hidden/1.jpg", "person 1/more/deep/5.WEBP")
    dataset = read_reid("folder", root)
    assert (dataset.name, dataset.num_cameras, dataset.num_draws) == ("people", 1, 1)
    read = names(root, (*dataset.train, *dataset.query, *dataset.gallery))
    assert sorted(read) == sorted([*many(10), "person 1/more/deep/5.WEBP"])
    assert len(people(root, dataset.train)) == 7
    assert people(root, dataset.query) == people(root, dataset.gallery)
    assert not people(root, dataset.train) & people(root, dataset.query)
    assert sorted({p.identity for p in dataset.train}) == [*range(7)]


def test_names_are_any_text_and_number_the_people(touch):
    root = touch(*(f"{name}/{i}.png" for name in ("Zoë", "安娜", "07", "o'Neil Jr.") for i in "12"))
    dataset = read_reid("folder", root, PeopleDivision(test_share=0.5))
    names_of = defaultdict(set)
    for picture in (*dataset.query, *dataset.gallery):
        names_of[picture.identity].add(Path(picture.path).parent.name)
    in_order = ["07", "Zoë", "o'Neil Jr.", "安娜"]
    assert len(names_of) == 2
    assert all(own == {in_order[identity]} for identity, own in names_of.items())


def test_the_draw_depends_on_the_seed_and_not_on_the_file_system(touch, monkeypatch):
    root = touch(*many(12), *(f"person {p}/more/5.jpg" for p in range(12)))
    dataset = read_reid("folder", root, PeopleDivision(seed=5))
    for turned in ("iterdir", "rglob"):
        listed = getattr(Path, turned)

        def backwards(self, *pattern, listed=listed):
            return iter([*listed(self, *pattern)][::-1])

        monkeypatch.setattr(Path, turned, backwards)
    assert read_reid("folder", root, PeopleDivision(seed=5)) == dataset
    tested = {
        frozenset(people(root, read_reid("folder", root, PeopleDivision(seed=seed)).query))
        for seed in range(6)
    }
    assert len(tested) > 1


@pytest.mark.parametrize(
    ("share", "number"), [(0.001, 1), (0.25, 2), (0.5, 4), (0.999, 7), (0.3, 2)]
)
def test_the_share_is_of_the_people_and_both_sides_have_one(touch, share, number):
    root = touch(*many(8, 2))
    dataset = read_reid("folder", root, PeopleDivision(share))
    assert len(people(root, dataset.query)) == number
    assert len(people(root, dataset.train)) == 8 - number


def test_without_cameras_half_of_the_images_are_queries(touch):
    root = touch(*many(6, 5))
    dataset = read_reid("folder", root, PeopleDivision(0.5))
    assert (len(dataset.query), len(dataset.gallery)) == (3 * 2, 3 * 3)
    assert not dataset.has_cameras


def per_camera(person: str, *cameras: str, images: int = 2) -> list[str]:
    return [f"{person}/cam{camera}/{i}.jpg" for camera in cameras for i in range(images)]


def assert_matches_elsewhere(dataset: ReIDDataset) -> None:
    cameras = defaultdict(set)
    for picture in dataset.gallery:
        cameras[picture.identity].add(picture.camera)
    assert all(cameras[q.identity] - {q.camera} for q in dataset.query)


def test_cameras_are_numbers_before_words(touch, caplog):
    caplog.set_level(logging.INFO)
    root = touch(*(name for p in "abcd" for name in per_camera(p, "10", "2", "gate", "Door")))
    dataset = read_reid("folder", root, PeopleDivision(camera_pattern=CAMERAS))
    of = {
        Path(p.path).parent.name: p.camera
        for p in (*dataset.train, *dataset.query, *dataset.gallery)
    }
    assert of == {"cam2": 0, "cam10": 1, "camDoor": 2, "camgate": 3}
    assert (dataset.num_cameras, dataset.has_cameras) == (4, True)
    assert "cameras 2, 10, Door, gate" in caplog.text
    assert len(dataset.query) == 2  # two of four cameras of one of four people
    assert len({q.camera for q in dataset.query}) == 2


@pytest.mark.parametrize("seed", range(5))
def test_every_query_has_a_match_under_another_camera(touch, seed):
    cameras = ("12", "3", "123", "1", "23", "13")
    root = touch(*(n for p, own in enumerate(cameras) for n in per_camera(str(p), *own, images=1)))
    division = PeopleDivision(0.9, camera_pattern=CAMERAS, seed=seed)
    dataset = read_reid("folder", root, division)
    assert people(root, dataset.query) == {"0", "2", "4", "5"}
    assert people(root, dataset.train) == {"1", "3"}  # one camera only
    assert_matches_elsewhere(dataset)


def test_the_camera_is_the_first_group_or_the_whole_match(touch):
    root = touch(*(f"{p}/{i}_c{c:02}.jpg" for p in "abc" for i in "12" for c in (1, 2)))
    for pattern in (r"c(\d+)\.jpg", r"(?<=c)\d+", r"_c(\d)(\d)?"):
        dataset = read_reid("folder", root, PeopleDivision(camera_pattern=pattern))
        assert dataset.num_cameras == (1 if pattern.startswith("_") else 2)


def test_a_single_image_trains_with_a_warning(touch, caplog):
    root = touch(*many(3, 2), "person 9/1.jpg")
    for seed in range(4):
        dataset = read_reid("folder", root, PeopleDivision(0.9, seed=seed))
        assert people(root, dataset.train) == {"person 9"}
    assert "training identities with a single image: 1 (first: " in caplog.text


def test_what_belongs_to_nobody_is_skipped_with_a_warning(touch, caplog):
    root = touch(*many(3), "loose.jpg", "notes.txt", "empty/readme.txt")
    dataset = read_reid("folder", root)
    assert len((*dataset.train, *dataset.query, *dataset.gallery)) == 12
    assert "loose.jpg is in no person's folder and is skipped" in caplog.text
    assert "empty has no images" in caplog.text
    assert "notes" not in caplog.text


def test_a_person_may_be_a_link_to_a_folder(touch, tmp_path):
    root = touch(*many(2))
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/1.jpg").touch()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    dataset = read_reid("folder", root)
    assert people(root, dataset.train) > {"linked"}


@pytest.mark.parametrize(
    ("files", "division", "sentence"),
    [
        ((), PeopleDivision(), "is not a folder; give one with a folder per person"),
        (("loose.jpg",), PeopleDivision(), "images of 0 people; at least 2"),
        (("a/1.jpg", "a/2.jpg"), PeopleDivision(), "images of 1 person; at least 2"),
        (("a/1.jpg", "b/1.jpg"), PeopleDivision(), "nobody in .* is in two images"),
        (
            ("a/cam1/1.jpg", "a/cam1/2.jpg", "b/cam2/1.jpg"),
            PeopleDivision(camera_pattern=CAMERAS),
            "nobody in .* is seen by two cameras",
        ),
        (
            ("a/cam1/1.jpg", "a/2.jpg", "b/3.jpg"),
            PeopleDivision(camera_pattern=CAMERAS),
            r"reid\.camera_pattern: 'cam\(.*finds no camera in 2 of 3 images .*such as a/2\.jpg",
        ),
        (
            ("a/1.jpg", "b/1.jpg"),
            PeopleDivision(camera_pattern="c()"),
            "finds no camera in 2 of 2",
        ),
    ],
)
def test_a_folder_that_cannot_be_divided_is_refused(touch, tmp_path, files, division, sentence):
    touch(*files)
    with pytest.raises(InputError, match=sentence) as error:
        read_reid("folder", tmp_path / "people", division)
    assert "\n" not in str(error.value)
