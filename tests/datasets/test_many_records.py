"""A dataset of 200,000 images through reading, the start of training, and the check."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests import ROOT

NUMBER = 200_000
IN_A_FOLDER = 1000
STEPS = {
    "reading": "dataset = read_text_person(*paths)",
    "start": (
        "training = CaptionDataset([join_training([dataset])], None, None)\n"
        "next(iter(GlobalBatchSampler(len(training), 64)))"
    ),
    "check": "report = check_text(*paths)\nassert report.findings == (), str(report)",
}
SCRIPT = """
import json, resource, sys, time
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset
from misc.datasets.check_text import check_text
from misc.datasets.text_person import join_training, read_text_person

paths, steps = sys.argv[1:3], json.loads(sys.argv[3])
for name, code in steps.items():
    start = time.process_time()
    exec(code)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(name, round(time.process_time() - start, 1), "s", round(megabytes), "MB")
"""


@pytest.mark.slow
def test_200_000_records_need_seconds_and_a_gigabyte(tmp_path):
    file = written(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file), str(tmp_path / "images"), json.dumps(STEPS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    used = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert {name: float(words[1]) < 120 for name, words in used.items()} == dict.fromkeys(
        STEPS, True
    )
    assert all(float(words[3]) < 2500 for words in used.values())


def written(folder: Path) -> Path:
    """Annotations of images that are one file in each folder, with as many names as needed."""
    records = []
    for number in range(NUMBER):
        home = folder / "images" / str(number // IN_A_FOLDER)
        name = home / f"{number}.png"
        if number % IN_A_FOLDER == 0:
            home.mkdir(parents=True)
            Image.new("RGB", (4, 8)).save(name)
        else:
            os.link(home / f"{number - number % IN_A_FOLDER}.png", name)
        person = number // 4
        captions = [f"person {person} in a coat of colour {number}", f"a bag of {number} things"]
        records.append(
            {
                "split": "test" if person % 10 == 0 else "train",
                "file_path": str(name.relative_to(folder / "images")),
                "id": person,
                "captions": captions,
            }
        )
    file = folder / "mine.json"
    file.write_text(json.dumps(records))
    return file
