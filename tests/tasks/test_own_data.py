"""Images of one's own, from the command line to the table: a folder of people, and captions.csv."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

import main
import options
from errors import InputError
from misc.datasets.text_annotations import read_annotations
from misc.synthetic.writing import write_reid_dataset
from tests.command_line import parse
from tests.conftest import SMALL

BASELINE = str(options.RECIPES / "baseline_vit.yaml")
FEW = (
    "model.clip_pretrained=null",
    "data.global_batch_size=8",
    "stages.images.schedule={epoch: 1, epoch_warmup: 0, milestones: []}",
    "reid.dataset=folder",
)
PERSON = re.compile(r"(\d+)_c(\d)")


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Drawn people: `people/NAME/camera N/IMAGE.jpg`."""
    folder = tmp_path_factory.mktemp("own")
    sizes = {"train": 5, "test": 4}
    write_reid_dataset("market1501", folder, identities=sizes, images=(4, 5), height=(32, 48))
    for file in sorted(folder.rglob("*.jpg")):
        match = PERSON.match(file.name)
        if match and match[1] != "0000":
            place = folder / "people" / f"安娜 {match[1]}" / f"camera {match[2]}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    return folder / "people"


def run(*words: str, output: Path) -> list[dict]:
    """The closing rows of the record of a run of main.py."""
    main.run(parse([*words, "--output", str(output)]))
    rows = [json.loads(line) for line in (output / "metrics.jsonl").open(encoding="utf-8")]
    return [row for row in rows if "chosen" in row]


@pytest.mark.parametrize("cameras", [r"reid.camera_pattern=camera (\d)", None])
def test_a_folder_of_people_trains_and_evaluates(people, tmp_path, cameras):
    words = ("--config", BASELINE, *SMALL, *FEW, f"reid.root={people}")
    (trained,) = run(*words, *([cameras] if cameras else []), output=tmp_path / "run")
    assert trained["dataset"] == "people test"
    assert 0 < trained["mAP"] <= 100
    assert trained["unmatched"] == 0
    assert "people test" in (tmp_path / "run/results.md").read_text(encoding="utf-8")
    (again,) = run("--evaluate", str(tmp_path / "run"), output=tmp_path / "again")
    assert again["mAP"] == trained["mAP"]


def test_folders_of_people_are_joined_and_tested(people, tmp_path):
    other = shutil.copytree(people, tmp_path / "visitors")
    source = f"{{dataset: folder, root: {other}}}"
    words = ("--config", BASELINE, *SMALL, *FEW, f"reid.root={people}")
    words += (f"reid.train_sets=[{source}]", f"reid.test_sets=[{source}]")
    tables = run(*words, output=tmp_path / "run")
    assert [row["dataset"] for row in tables] == ["people test", "visitors test"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("reid.camera_pattern=cam(",), r"reid\.camera_pattern: 'cam\(' is not a regular expr"),
        (("reid.camera_pattern=door",), r"reid\.camera_pattern: 'door' finds no camera in \d+ of"),
        (("reid.test_share=1.0",), r"reid\.test_share"),
        (("reid.root=absent",), r"absent is not a folder"),
    ],
)
def test_a_mistake_is_one_sentence(people, tmp_path, words, sentence):
    with pytest.raises(InputError, match=sentence):
        run("--config", BASELINE, *SMALL, *FEW, f"reid.root={people}", *words, output=tmp_path)


def test_a_table_with_names_trains_and_evaluates(pedestrians, tmp_path):
    """The result is that of the same people with numbers."""
    file = tmp_path / "captions.csv"
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream, delimiter=";")
        table.writerow(["path", "caption", "id", "split"])
        for split, pictures in read_annotations(pedestrians.processed).items():
            for picture in pictures:
                name = f"{chr(ord('z') - picture.identity % 26)} 安娜 {picture.identity}"
                table.writerows([picture.path, text, name, split] for text in picture.captions)
    demo = ("--config", str(options.RECIPES / "demo.yaml"), *SMALL, "schedule.epoch=1")
    root = f"data.image_root={pedestrians.image_root}"
    named = run(*demo, f"data.annotation_file={file}", root, output=tmp_path / "named")
    numbers = f"data.annotation_file={pedestrians.processed}"
    numbered = run(*demo, numbers, root, "experiment.back_trans=false", output=tmp_path / "plain")
    assert [row["mAP"] for row in named] == pytest.approx([row["mAP"] for row in numbered])
