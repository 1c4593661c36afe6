"""A dataset of 200,000 images through reading, the start of training, an evaluation, and the check;
and as many pairs, which are read when they are asked for.
"""

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
    "fingerprint": (
        "places = f'data.annotation_file={paths[0]}', f'data.image_root={paths[1]}'\n"
        "config = options.parse(['--config', 'config/demo.yaml', *places]).configure()\n"
        "task = TextTask(config, alone, Precision('fp32', alone.device))\n"
        "assert fingerprint(task, [], 'test')['samples'] == len(training)"
    ),
    "evaluation": (
        "retrieval = task.build_retrieval('test')\n"
        "sizes = len(retrieval.image_ids), len(retrieval.text_ids)\n"
        "assert sizes == (20_000, 40_000)\n"
        "encoded = tuple(normalize(torch.randn(size, 512), dim=-1) for size in sizes)\n"
        "retrieval.rank(encoded, alone)"
    ),
    "check": "report = check_text(*paths)\nassert report.findings == (), str(report)",
}
STEPS_OF_PAIRS = {
    "imports": "before = 1",
    "reading": "dataset = read_text_person(*paths)",
    "start": (
        "training = CaptionDataset([join_training([dataset])], None, None)\n"
        "sampler = GlobalBatchSampler(len(training), 64)\n"
        "keys = [key for batch in sampler for key in batch]\n"
        "assert len(training) == 200_000"
    ),
    "lines": (
        "for _, index in keys[:5000]:\n"
        "    (picture,) = training.described(index)\n"
        "    assert picture.identity == index\n"
        "    assert picture.path.endswith(f'/{index}.png')"
    ),
}
SCRIPT = """
import json, re, sys, time
from pathlib import Path

import torch
from torch.nn.functional import normalize

import options
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset
from misc.datasets.check_text import check_text
from misc.datasets.text_person import join_training, read_text_person
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.tasks.fingerprint import fingerprint
from misc.tasks.text.task import TextTask

alone = Processes(0, 1, torch.device("cpu"))
paths, steps = sys.argv[1:3], json.loads(sys.argv[3])
for name, code in steps.items():
    start = time.process_time()
    exec(code)
    # The peak of getrusage would be that of the process that started this one, if it was higher.
    peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
    megabytes = int(peak[1]) / 1024
    print(name, round(time.process_time() - start, 1), "s", round(megabytes), "MB")
"""


@pytest.mark.slow
def test_200_000_records_need_seconds_and_a_gigabyte(tmp_path):
    used = measured(written(tmp_path), STEPS)
    assert {name: seconds < 120 for name, (seconds, _) in used.items()} == dict.fromkeys(
        STEPS, True
    )
    assert all(megabytes < 2500 for _, megabytes in used.values())


def test_200_000_pairs_need_seconds_and_no_memory(tmp_path):
    used = measured(written_pairs(tmp_path), STEPS_OF_PAIRS)
    before = used.pop("imports")[1]
    assert {name: seconds < 10 for name, (seconds, _) in used.items()} == dict.fromkeys(used, True)
    assert used["reading"][1] - before < 40  # of a file of 90 MB
    assert used["lines"][1] - before < 60


def measured(file: Path, steps: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Seconds of each step, and the peak of memory until then, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file), str(file.parent / "images"), json.dumps(steps)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    lines = map(str.split, done.stdout.splitlines())
    return {name: (float(seconds), float(megabytes)) for name, seconds, _, megabytes, _ in lines}


def written_pairs(folder: Path) -> Path:
    """Pairs with two captions of 30 words each, of which only the first has its image."""
    (folder / "images").mkdir()
    Image.new("RGB", (4, 8)).save(folder / "images" / "0.png")
    words = " ".join(["word"] * 38)
    file = folder / "pairs.jsonl"
    with file.open("w") as stream:
        for number in range(NUMBER):
            captions = [f"person {number} {words}", f"bag {number} {words}"]
            stream.write(json.dumps({"file_path": f"{number}.png", "captions": captions}) + "\n")
    return file


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
