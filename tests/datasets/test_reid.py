"""Image re-identification datasets: what their folders and lists say, and what is wrong with them.

Only names are read here, so the pictures are empty files.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from errors import InputError
from misc.datasets.reid import PUBLISHED, join_reid_training, read_reid
from misc.datasets.reid_published import Count, ReIDPicture, ReIDSplits
from misc.datasets.vehicleid import draw_gallery

MARKET = (
    "bounding_box_train/0007_c1s1_000451_03.jpg",
    "bounding_box_train/0007_c6s2_000452_01.jpg",
    "bounding_box_train/0002_c3s1_000453_01.jpg",
    "bounding_box_train/0002_c2s1_000453_01.jpg",
    "query/0001_c1s1_001051_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c2s1_000001_00.jpg",
    "bounding_box_test/0001_c1s1_001052_00.jpg",
    "bounding_box_test/0001_c4s6_015891_00.jpg",
)
MSMT17 = {
    "list_train.txt": ("0001/0001_000_05_0303morning_0008_0.jpg 1", "0000/0000_000_01_a_0_0.jpg 0"),
    "list_val.txt": ("0001/0001_001_15_0303morning_0008_0.jpg 1",),
    "list_query.txt": ("0000/0000_000_02_0303noon_0008_0.jpg 0",),
    "list_gallery.txt": ("0000/0000_001_03_0303noon_0008_0.jpg 0", "0009/0009_000_02_a_0_0.jpg 9"),
}
VERI = (
    "image_train/0001_c001_00016450_0.jpg",
    "image_train/0001_c020_00016460_0.jpg",
    "image_query/0002_c002_00030600_0.jpg",
    "image_test/0002_c003_00030605_0.jpg",
)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def write(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def market(tmp_path: Path) -> Path:
    return touch(tmp_path / "Market-1501-v15.09.15", *MARKET)


@pytest.fixture
def msmt17(tmp_path: Path) -> Path:
    root = tmp_path / "MSMT17"
    for name, lines in MSMT17.items():
        write(root, name, *lines)
        images = "train" if name in ("list_train.txt", "list_val.txt") else "test"
        touch(root / images, *(line.split()[0] for line in lines))
    return root


@pytest.fixture
def veri(tmp_path: Path) -> Path:
    return touch(tmp_path / "VeRi", *VERI)


@pytest.fixture
def vehicleid(tmp_path: Path) -> Path:
    root = touch(tmp_path / "VehicleID_V1.0", *(f"image/{n:07d}.jpg" for n in range(12)))
    lists = root / "train_test_split"
    write(lists, "train_list.txt", "0000000 31", "0000001 31", "0000002 5", "0000003 5")
    test = ("0000004 8", "0000005 8", "0000006 8", "0000007 40", "0000008 40", "0000009 77")
    write(lists, "test_list_800.txt", *test)
    write(lists, "test_list_1600.txt", *test, "0000010 90", "0000011 90")
    return root


def seen(pictures) -> list[tuple[str, int, int]]:
    return [(Path(p.path).name, p.identity, p.camera) for p in pictures]


def test_market_tells_identity_and_camera_in_its_names(market):
    dataset = read_reid("market1501", market)
    assert seen(dataset.train) == [  # sorted by name, identities from 0
        ("0002_c2s1_000453_01.jpg", 0, 1),
        ("0002_c3s1_000453_01.jpg", 0, 2),
        ("0007_c1s1_000451_03.jpg", 1, 0),
        ("0007_c6s2_000452_01.jpg", 1, 5),
    ]
    assert seen(dataset.query) == [("0001_c1s1_001051_00.jpg", 1, 0)]
    assert seen(dataset.gallery) == [  # junk is gone, the distractor is not
        ("0000_c2s1_000001_00.jpg", 0, 1),
        ("0001_c1s1_001052_00.jpg", 1, 0),
        ("0001_c4s6_015891_00.jpg", 1, 3),
    ]
    assert (dataset.name, dataset.num_cameras, dataset.num_views) == ("Market-1501", 6, 1)
    assert all(Path(p.path).is_file() for p in (*dataset.train, *dataset.query, *dataset.gallery))


@pytest.mark.parametrize(
    ("name", "folder", "cameras"),
    [
        ("dukemtmc", "dukemtmcreid/DukeMTMC-reID", 8),
        ("occluded-duke", "dukemtmcreid/Occluded_Duke", 8),
    ],
)
def test_the_root_is_the_datasets_folder_or_one_above(tmp_path, name, folder, cameras):
    root = touch(
        tmp_path / folder,
        "bounding_box_train/0001_c2_f0046182.jpg",
        "bounding_box_train/0001_c8_f0046182.jpg",
        "query/0005_c2_f0046985.jpg",
        "bounding_box_test/0005_c1_f0046985.jpg",
    )
    datasets = [read_reid(name, place) for place in (root, root.parent, tmp_path, str(tmp_path))]
    assert all(dataset == datasets[0] for dataset in datasets)
    assert seen(datasets[0].train) == [
        ("0001_c2_f0046182.jpg", 0, 1),
        ("0001_c8_f0046182.jpg", 0, 7),
    ]
    assert datasets[0].num_cameras == cameras


def test_what_is_no_picture_is_passed_over(market):
    touch(market, "query/Thumbs.db", "query/._0001_c1s1_001051_00.jpg", "query/readme.txt")
    assert len(read_reid("market1501", market).query) == 1


def test_ones_own_pictures_may_have_more_cameras_and_other_suffixes(market):
    touch(market, "bounding_box_test/0001_c12_.PNG", "query/0001_c2.jpeg")
    dataset = read_reid("market1501", market)
    assert dataset.num_cameras == 12
    assert seen(dataset.gallery)[-1] == ("0001_c4s6_015891_00.jpg", 1, 3)
    assert seen(dataset.gallery)[1] == ("0001_c12_.PNG", 1, 11)
    assert len(dataset.query) == 2


@pytest.mark.parametrize("name", ["portrait.jpg", "0001.jpg", "0001_c0s1_000001_00.jpg"])
def test_a_name_without_identity_and_camera_is_refused(market, name):
    touch(market, f"query/{name}")
    with pytest.raises(InputError, match=f"query/{name}: the name must start with identity"):
        read_reid("market1501", market)


def test_an_empty_folder_is_refused(market):
    for file in (market / "query").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"v15.09.15/query has no images"):
        read_reid("market1501", market)


def test_msmt17_trains_on_its_validation_list_too(msmt17):
    dataset = read_reid("msmt17", msmt17.parent)
    assert seen(dataset.train) == [
        ("0001_000_05_0303morning_0008_0.jpg", 1, 4),
        ("0000_000_01_a_0_0.jpg", 0, 0),
        ("0001_001_15_0303morning_0008_0.jpg", 1, 14),
    ]
    assert seen(dataset.query) == [("0000_000_02_0303noon_0008_0.jpg", 0, 1)]
    assert [p.identity for p in dataset.gallery] == [0, 9]
    assert (dataset.num_cameras, dataset.num_views) == (15, 1)
    assert Path(dataset.query[0].path).parent == msmt17 / "test" / "0000"


def test_listed_pictures_that_are_absent_or_repeated_are_left_out_and_said(msmt17, caplog):
    gone = "0000/0000_007_02_0303noon_0008_0.jpg"
    lines = [*MSMT17["list_gallery.txt"], f"{gone} 0", MSMT17["list_gallery.txt"][0], "", "  "]
    write(msmt17, "list_gallery.txt", *lines)
    assert len(read_reid("msmt17", msmt17).gallery) == 2
    said = f"{msmt17}/list_gallery.txt: skipped missing images: 1 (first: {msmt17}/test/{gone})"
    assert said in caplog.text
    assert "list_gallery.txt: skipped repeated images: 1 (first: " in caplog.text


def test_a_training_picture_in_both_lists_is_one(msmt17, caplog):
    write(msmt17, "list_val.txt", *MSMT17["list_val.txt"], MSMT17["list_train.txt"][0])
    assert len(read_reid("msmt17", msmt17).train) == 3
    assert "list_val.txt: skipped repeated images: 1 (" in caplog.text


def test_listed_junk_is_left_out(msmt17):
    touch(msmt17 / "test", "0008/0008_000_02_a_0_0.jpg")
    lines = [*MSMT17["list_gallery.txt"], "0008/0008_000_02_a_0_0.jpg -1"]
    write(msmt17, "list_gallery.txt", *lines)
    assert [p.identity for p in read_reid("msmt17", msmt17).gallery] == [0, 9]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["0000/0000_001_03_0303noon_0008_0.jpg"],
            "list_gallery.txt, line 1: expected an image",
        ),
        (
            ["0000/0000_001_03_0303noon_0008_0.jpg x"],
            "list_gallery.txt, line 1: expected an image",
        ),
        (
            [MSMT17["list_gallery.txt"][0], MSMT17["list_gallery.txt"][0][:-1] + "4"],
            r"list_gallery.txt, line 2: 0000/0000_001_03_0303noon_0008_0.jpg has identity 4, but 0",
        ),
        (["0000/none.jpg 1"], "none of the images in .*list_gallery.txt exists"),
        ([], "none of the images in .*list_gallery.txt exists"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(msmt17, lines, said):
    write(msmt17, "list_gallery.txt", *lines)
    with pytest.raises(InputError, match=said):
        read_reid("msmt17", msmt17)


@pytest.mark.parametrize("name", ["../0000_000_01_a_0_0.jpg", "/0000_000_01_a_0_0.jpg"])
def test_a_list_does_not_lead_out_of_its_folder(msmt17, name):
    write(msmt17, "list_gallery.txt", f"{name} 1")
    with pytest.raises(InputError, match=r"line 1: .* leads out of the dataset's folder"):
        read_reid("msmt17", msmt17)


def test_a_list_that_is_no_text_is_refused(msmt17):
    (msmt17 / "list_query.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"list_query\.txt cannot be read"):
        read_reid("msmt17", msmt17)


@pytest.mark.parametrize("name", ["portrait.jpg", "0000_000_x1_a_0_0.jpg", "0000_000_00_a_0.jpg"])
def test_a_listed_name_without_a_camera_is_refused(msmt17, name):
    touch(msmt17 / "test", name)
    write(msmt17, "list_query.txt", f"{name} 0")
    with pytest.raises(InputError, match=f"test/{name}: the third field"):
        read_reid("msmt17", msmt17)


def test_veri_without_keypoints_has_one_view(veri):
    dataset = read_reid("veri776", veri)
    assert [p.camera for p in dataset.train] == [0, 19]
    assert (dataset.num_cameras, dataset.num_views) == (20, 1)
    assert {p.view for p in (*dataset.train, *dataset.query, *dataset.gallery)} == {0}


def test_veri_takes_viewpoints_from_the_last_column(veri, caplog):
    caplog.set_level("INFO")
    points = " ".join(["-1"] * 40)
    train, test = VERI[0], VERI[3]
    write(veri, "keypoint_train.txt", f"elsewhere/VeRi/{train} {points} 5", f"x.jpg {points} 1")
    write(veri, "keypoint_test.txt", f"{Path(test).name} {points} 0")
    dataset = read_reid("veri776", veri)
    assert [p.view for p in dataset.train] == [5, 8]  # without a label they stay, with the ninth
    assert [p.view for p in dataset.query] == [8]
    assert [p.view for p in dataset.gallery] == [0]
    assert dataset.num_views == 9
    assert "images without a viewpoint, which get a neutral view: 2 (first: " in caplog.text
    for labelled in (dataset, join_reid_training([dataset, dataset]).datasets[1]):
        labelled = labelled.with_viewpoints()
        assert (len(labelled.train), len(labelled.query), len(labelled.gallery)) == (2, 0, 1)
    (veri / "keypoint_test.txt").unlink()
    assert [p.view for p in read_reid("veri776", veri).gallery] == [8]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.jpg 1 8", "the viewpoint in the last column must be 0 to 7, not 8"),
        ("a.jpg", "expected an image name first and a number last, got 'a.jpg'"),
    ],
)
def test_a_wrong_viewpoint_is_refused(veri, line, said):
    write(veri, "keypoint_train.txt", line)
    with pytest.raises(InputError, match=f"keypoint_train.txt, line 1: {said}"):
        read_reid("veri776", veri)


def test_vehicleid_draws_one_gallery_picture_of_each_vehicle(vehicleid):
    dataset = read_reid("vehicleid", vehicleid)
    assert [p.identity for p in dataset.train] == [1, 1, 0, 0]
    assert (dataset.num_cameras, dataset.num_views, dataset.num_draws) == (1, 1, 10)
    assert not dataset.has_cameras
    everything = {p.path for p in (*dataset.query, *dataset.gallery)}
    assert len(everything) == 6
    chosen: Counter[str] = Counter()
    for number in range(300):
        query, gallery = dataset.draw(3, number)
        assert sorted(p.identity for p in gallery) == [8, 40, 77]
        assert sorted(p.identity for p in query) == [8, 8, 40]
        assert {p.path for p in (*query, *gallery)} == everything
        chosen.update(Path(p.path).stem for p in gallery)
    assert chosen["0000009"] == 300
    assert all(60 < chosen[f"000000{n}"] < 140 for n in (4, 5, 6))
    assert all(110 < chosen[f"000000{n}"] < 190 for n in (7, 8))


def test_a_draw_depends_on_seed_and_number_alone(vehicleid):
    dataset = read_reid("vehicleid-1600", vehicleid)
    test = [*dataset.query, *dataset.gallery]
    assert dataset.draw(0, 0) == (dataset.query, dataset.gallery)
    assert draw_gallery(test[::-1], 0, 4) == dataset.draw(0, 4)
    draws = [{p.path for p in dataset.draw(seed, n)[1]} for seed in (0, 1) for n in range(10)]
    assert len({frozenset(draw) for draw in draws}) > 5
    market_like = replace(dataset, num_draws=1)
    assert market_like.draw(5, 7) == (dataset.query, dataset.gallery)


def test_vehicleid_reads_the_test_list_that_is_asked_for(vehicleid):
    assert read_reid("vehicleid-1600", vehicleid).name == "VehicleID (1600)"
    assert {p.identity for p in read_reid("vehicleid-1600", vehicleid).gallery} == {8, 40, 77, 90}
    with pytest.raises(InputError, match=r"test_list_2400.txt"):
        read_reid("vehicleid-2400", vehicleid)


@pytest.mark.parametrize(
    ("files", "root", "found"),
    [
        ((), "", "contains nothing;"),
        (("a.txt", "b/c.jpg"), "", "contains a.txt, b;"),
        ((), "data/sets", "contains nothing;"),
        (
            ("Market-1501-v15.09.15/query/0001_c1.jpg",),
            "",
            r"Market-1501-v15.09.15 contains query;",
        ),
        (tuple(f"{n}.txt" for n in range(20)), "", r"contains 0.txt, 1.txt, 10.txt.*, \.\.\.;"),
    ],
)
def test_a_missing_dataset_is_one_clear_sentence(tmp_path, files, root, found):
    touch(tmp_path, *files)
    with pytest.raises(InputError) as error:
        read_reid("market1501", tmp_path / root)
    message = str(error.value)
    assert str(tmp_path / root / "Market-1501-v15.09.15") in message
    assert "bounding_box_train, query, bounding_box_test" in message
    assert re.search(found, message), message
    assert "Zheng et al., Scalable Person Re-identification" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_missing_dataset_names_its_folder_and_its_owners(tmp_path, name):
    with pytest.raises(InputError) as error:
        read_reid(name, tmp_path)
    assert PUBLISHED[name].folder in str(error.value)
    assert PUBLISHED[name].source in str(error.value)


def test_an_unknown_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'Market': did you mean market1501.*, folder\)"):
        read_reid("Market", tmp_path)
    with pytest.raises(InputError, match=r"did you mean folder\?"):
        read_reid("Folders", tmp_path)


def test_counts_are_told_and_compared(market, caplog):
    caplog.set_level("INFO")
    read_reid("market1501", market)
    assert "train 4 images, 2 identities; query 1 image, 1 identity; gallery" in caplog.text
    assert "Sizes differ from published Market-1501: train 4 images (12,936), " in caplog.text
    pictures = [ReIDPicture(str(number), number // 2) for number in range(6)]
    splits = ReIDSplits(pictures, pictures[:2], pictures)
    here = {"train": Count(6, 3), "query": Count(2, 1)}
    published = replace(PUBLISHED["market1501"], counts=here)
    assert published.compare_counts(splits) == ""
    fewer = published.compare_counts(replace(splits, query=pictures[:1]))
    assert fewer == "Sizes differ from published Market-1501: query 1 image (2)"


def test_identities_with_one_picture_or_one_camera_stay_and_are_said(market, caplog):
    touch(market, "bounding_box_train/0009_c1_1.jpg", "bounding_box_train/0011_c1_1.jpg")
    touch(market, "bounding_box_train/0010_c3_1.jpg", "bounding_box_train/0010_c3_2.jpg")
    assert len(read_reid("market1501", market).train) == 8
    alone = f"{market}/bounding_box_train/0009_c1_1.jpg"
    near = f"{market}/bounding_box_train/0010_c3_1.jpg"
    said = f"{market}: training identities with"
    assert f"{said} a single image: 2 (first: {alone})" in caplog.text
    assert f"{said} images of one camera only: 1 (first: {near})" in caplog.text


def test_a_query_without_a_match_is_said(market, caplog):
    touch(market, "query/0001_c4s1_001051_00.jpg", "query/0030_c4s1_001051_00.jpg")
    assert len(read_reid("market1501", market).query) == 3
    said = f"{market}: queries without a match in the gallery under another camera: 1"
    assert f"{said} (first: {market}/query/0030_c4s1_001051_00.jpg)" in caplog.text


@pytest.mark.parametrize("query", ["0030_c1_0.jpg", "0001_c1_0.jpg"])
def test_a_query_folder_that_shares_nothing_with_the_gallery_is_refused(market, query):
    """Nobody of the gallery, or nobody whom another camera saw."""
    (market / "query/0001_c1s1_001051_00.jpg").unlink()
    (market / "bounding_box_test/0001_c4s6_015891_00.jpg").unlink()
    touch(market, f"query/{query}")
    said = "Market-1501-v15.09.15: no query has its identity in the gallery under another"
    with pytest.raises(InputError, match=said):
        read_reid("market1501", market)


def test_pictures_that_are_trained_on_and_tested_with_are_said(vehicleid, caplog):
    lists = vehicleid / "train_test_split"
    write(lists, "train_list.txt", "0000004 8", "0000003 5", "0000002 5")
    read_reid("vehicleid", vehicleid)
    said = "images in both train and test: 1 (first: "
    assert f"{said}{vehicleid}/image/0000004.jpg)" in caplog.text


def test_joint_training_numbers_everything_apart(market, veri, vehicleid):
    write(veri, "keypoint_train.txt", f"{VERI[0]} 5")
    datasets = [read_reid("market1501", market), read_reid("veri776", veri)]
    datasets.append(read_reid("vehicleid", vehicleid))
    training = join_reid_training(datasets)
    assert [(p.identity, p.camera, p.view) for p in training.pictures] == [
        (0, 1, 0),
        (0, 2, 0),
        (1, 0, 0),
        (1, 5, 0),
        (2, 6, 6),
        (2, 25, 9),
        (4, 26, 10),
        (4, 26, 10),
        (3, 26, 10),
        (3, 26, 10),
    ]
    assert (training.num_identities, training.num_cameras, training.num_views) == (5, 27, 11)
    moved = training.datasets[1]
    assert [(p.identity, p.camera, p.view) for p in moved.query] == [(2, 7, 9)]
    assert [p.camera - 6 for p in moved.gallery] == [p.camera for p in datasets[1].gallery]
    assert [p for dataset in training.datasets for p in dataset.train] == training.pictures


def test_one_dataset_alone_keeps_its_numbers(market):
    dataset = read_reid("market1501", market)
    training = join_reid_training([dataset])
    assert training.pictures == dataset.train
    assert training.datasets == [dataset]
