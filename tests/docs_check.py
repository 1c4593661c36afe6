"""The documented shell commands, run where they are short, and Python blocks, in a copy of the
project.

python -m tests.docs_check
python -m tests.docs_check --page docs/search.md

Small drawn datasets and weights stand in for the real ones, and settings of a small model are added
to a training; torchrun starts two processes; a server is stopped once it has answered. Commands
that take minutes, several machines or a download are parsed alone, and listed with the reason. The
exit status is 1 if anything fails.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from errors import InputError
from misc.data.noise import draw_mismatches
from misc.synthetic.writing import write_dataset
from tests import ROOT
from tests.archives import write_openai_archive
from tests.command_line import latest
from tests.conftest import SMALL
from tests.documented import (
    FOREIGN,
    PAGES,
    TORCHRUN,
    Command,
    blocks,
    check,
    commands,
    write_files,
)

EXAMPLES = ROOT / "docs" / "architecture.md"  # tests/test_architecture.py runs its examples
RUN = "runs/demo-20260101-120000"
BOTH = "runs/demo_both-..."
WEIGHTS = "ViT-B-16.pt"
PUBLISHED = ("tbps_clip.pth", "ViT-B-16_60.pth")  # checkpoints that stand-ins are exported to
PLACES = ("data.annotation_file=CUHK-PEDES/processed", "data.image_root=CUHK-PEDES/imgs")
DRAWN = ("--train", "20", "--test", "6", "--images", "4", "4", "--height", "40", "64")
FEW = latest(
    [
        *SMALL,
        "model.embed_dim=32",
        "experiment.simclr_mlp=[32, 8, 32]",
        f"model.clip_pretrained={WEIGHTS}",
        "schedule.epoch=1",
        "schedule.epoch_warmup=0",
        "log.print_period=1",
        "evaluation.ranked_lists=0",
    ]
)
REID = (
    "data.global_batch_size=8",
    "stages.prompts={global_batch_size: 8, schedule: {epoch: 1, epoch_warmup: 1}}",
    "stages.images.schedule={epoch: 1, epoch_warmup: 1}",
)
RECIPES = {  # further settings that make a recipe's training small
    "baseline_vit": (REID[0], REID[2]),
    "clipreid_vit": REID,
    "clipreid_vit_sie_olp": (*REID, "model.stride=4"),
    "clipreid_cnn": (
        *REID,
        "model.clip_pretrained=null",
        "model.vision={width: 4, layers: [1, 1, 1, 1], heads: 2, patch_size: null}",
    ),
    "cskt": ("prompts.depth=1", "data.global_batch_size=null"),
    "irra": ("data.global_batch_size=null",),
    "rde": ("data.global_batch_size=null",),
    "both": ("data.global_batch_size=8", "reid.global_batch_size=8"),
}
SHORT = ("benchmarks.composed", "benchmarks.relevance")  # the other benchmarks train
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
NO_HIT = "fulfils --where"  # an answer: the pictures that stand in have no cameras
LIMIT = 600  # seconds of a command
INTERRUPTED = 130  # the exit status after Ctrl-C


def reason_to_parse(command: Command) -> str | None:
    """Why a command is not run; None: it is."""
    program, *words = command.words
    text = " ".join(words)
    reasons = {
        "not of this project": program in FOREIGN or "=" in program or "pytest" in words,
        "several machines, or left open": program in TORCHRUN
        and not (words[0].startswith("--nproc") and words[1] == "main.py" and WEIGHTS in text),
        "minutes": program == "make"
        or ("benchmarks." in text and not any(name in words for name in SHORT)),
        "needs a published checkpoint": "main.py" in words
        and any(word.endswith(".pth") and word not in PUBLISHED for word in words),
        "needs weights that are downloaded": any(
            name in text
            for name in ("quick_start_altclip", "hf:", "mobileclip2", "siglip", "torchvision")
        ),
        "needs packages that are not installed": "wandb" in text,
        "an example, run by tests/test_architecture.py": command.page == EXAMPLES,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def to_run(command: Command) -> list[str]:
    """The words of a command with stand-ins, which make it short."""
    program, *words = command.words
    if program in TORCHRUN:
        return [sys.executable, *TWO, *_with_stand_ins(words[1:])]
    return [sys.executable, *_with_stand_ins(words)]


def _with_stand_ins(words: Sequence[str]) -> list[str]:
    """The words of a script with those that make it short."""
    has_small_model = {"--evaluate", "--resume"} & {*words} and not {*PUBLISHED} & {*words}
    if words[0] == "main.py" and not has_small_model and "best" not in " ".join(words):
        data = ("reid.root=data",) if any("reid." in word for word in words) else PLACES
        words = [word for word in words if not word.endswith("...")]
        recipe = Path(words[words.index("--config") + 1]).stem if "--config" in words else ""
        # What a command gives itself stands.
        words = latest([*data, *FEW, *RECIPES.get(recipe, ()), *words])
        words = ["main.py", *(word for word in words if word != "main.py")]
    if words[:2] == ["-m", "misc.synthetic"]:
        words = [*words, *DRAWN]
    return [*words]


def prepare(folder: Path) -> None:
    """A copy of the project with everything that the documented commands name."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    write_data(folder)
    write_openai_archive(folder / WEIGHTS, embed_dim=32)
    _make(folder, "-m", "misc.synthetic.footage", "--output", ".", "--people", "2")
    _make(folder, "main.py", "--config", "config/demo.yaml", "--output", RUN, *FEW, *PLACES)
    tuned = (*FEW, *PLACES, "lora.rank=2")
    _make(folder, "main.py", "--simplified", "--output", "runs/lora", *tuned)
    market = ("--layout", "market1501", "--output", "Market-1501")
    _make(folder, "-m", "misc.synthetic", *market, *DRAWN)
    small = (*FEW, *RECIPES["both"], *PLACES, "reid.root=Market-1501")
    _make(folder, "main.py", "--config", "config/both.yaml", "--output", BOTH, *small)
    _write_reid(folder)
    _make(folder, "-m", "misc.export", "runs/lora", PUBLISHED[0])
    _make(folder, "-m", "misc.synthetic", "--layout", "composed", "--output", ".", *DRAWN)
    _make(folder, "-m", "benchmarks.composed", "--checkpoint", RUN, "--data", "composed")
    with_captions = {
        file.name: "a man in a red coat" for file in (folder / "people").rglob("*.jpg")
    }
    for name in ("Ts-qwen", "Td-qwen", "Ts-shikra", "Td-shikra"):  # which docs/data.md converts
        (folder / f"{name}.json").write_text(json.dumps(with_captions))
    compared = ("a-0", "a-1", "b")  # by report.md
    compared += ("irra-1", "irra-2", "rde-0", "rde-1", "rde-2")  # by advice.md, which trains irra-0
    for name in (*compared, "mine"):  # which tbps-clip.md exports
        shutil.copytree(folder / RUN, folder / "runs" / name)
    links = {"pictures": "CUHK-PEDES/imgs", "LUPerson": "CUHK-PEDES/imgs", "DIR": "pictures"}
    links["clip"] = WEIGHTS
    links |= dict.fromkeys(("runs/demo", "runs/demo-...", "RUN", "RUN_OR_CHECKPOINT"), RUN)
    for name, target in links.items():
        (folder / name).symlink_to(os.path.relpath(target, Path(name).parent))


def write_data(folder: Path) -> None:
    """Drawn people in the layouts of the datasets, and as somebody's own pictures."""
    sizes = {"images": (2, 3), "height": (40, 64)}
    people = {"train": 80, "val": 8, "test": 8}  # enough for a batch of 320 captions
    write_dataset("rstpreid", folder, identities=people, **sizes)
    drawn = write_dataset("cuhk-pedes", folder, identities=people, **sizes)
    records = [
        {**record, "split": split}
        for split in people
        for record in json.loads((drawn.processed / f"{split}_reid.json").read_text())
    ]
    with (folder / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "caption", "id", "split"])
        for record in records:
            path, *rest = (record[key] for key in ("file_path", "id", "split"))
            table.writerows([path, caption, *rest] for caption in record["captions"])
    with (folder / "pairs.jsonl").open("w") as pairs:
        for record in records:
            pairs.write(json.dumps({key: record[key] for key in ("file_path", "captions")}) + "\n")
    count = sum(len(record["captions"]) for record in records if record["split"] == "train")
    (folder / "noiseindex").mkdir()
    np.save(folder / "noiseindex" / "CUHK-PEDES_0.5.npy", draw_mismatches(count, 0.5, seed=0))
    for record in records:
        picture = drawn.image_root / record["file_path"]
        person = folder / "people" / str(record["id"])
        person.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, person / picture.name)
    shutil.copyfile(picture, folder / "her.jpg")


def _write_reid(folder: Path) -> None:
    """People and vehicles in `data`, and a checkpoint in the form of CLIP-ReID's authors."""
    layouts = ("--layout", "market1501", "veri776", "--output", "data")
    _make(folder, "-m", "misc.synthetic", *layouts, *DRAWN)
    words = ("--config", "config/clipreid_vit.yaml", "--output", "runs/clipreid", "reid.root=data")
    _make(folder, "main.py", *words, *FEW, *REID)
    _make(folder, "-m", "misc.export", "runs/clipreid", PUBLISHED[1], "--format", "clip-reid")


def _make(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def outcome(command: Command, folder: Path) -> tuple[str, str]:
    """The end of a command, and its output if it has failed."""
    if reason := reason_to_parse(command):
        try:
            if command.page != EXAMPLES:
                check(command, folder)
        except InputError as error:
            return "FAILED", str(error)
        return f"parsed: {reason}", ""
    return (_serve if "serve" in command.words else _run)(to_run(command), folder)


def _run(words: Sequence[str], folder: Path) -> tuple[str, str]:
    start = time.monotonic()
    done = subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    if done.returncode and NO_HIT not in done.stderr:
        return "FAILED", (done.stdout + done.stderr)[-2000:]
    return f"ran: {time.monotonic() - start:.0f} s", ""


def _serve(words: Sequence[str], folder: Path) -> tuple[str, str]:
    """Start a server, fetch its page, and end it as Ctrl-C does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start, page = time.monotonic(), b""
    server = subprocess.Popen(
        [*words, "--port", str(port)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not page and server.poll() is None and time.monotonic() - start < LIMIT:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=LIMIT) as answer:
                page = answer.read()
        except OSError:  # it does not listen yet
            time.sleep(0.2)
    server.send_signal(signal.SIGINT)
    output, _ = server.communicate(timeout=LIMIT)
    if b"gradio" not in page or server.returncode != INTERRUPTED:
        return "FAILED", output
    return f"served its page: {time.monotonic() - start:.0f} s", ""


def check_page(page: Path, folder: Path, seen: set[tuple[str, ...]]) -> int:
    """Run the commands of a page, then its Python blocks; the number of those that fail.

    Args:
        seen: commands that were run before, which are not repeated.
    """
    write_files(page, folder)
    for file in folder.glob("*.yaml"):  # a sweep
        file.write_text(file.read_text().replace("trials: 20", "trials: 1"))
    failed = 0
    for command in commands(page):
        if command.words not in seen:
            failed += _report(str(command), *outcome(command, folder))
        seen.add(command.words)
    for line, code in blocks(page, "python") if page != EXAMPLES else ():
        result = _run([sys.executable, "-c", code], folder)
        failed += _report(f"{page.relative_to(ROOT)}:{line}: a block of Python", *result)
    return failed


def _report(name: str, result: str, output: str) -> bool:
    print(f"{result:<40} {name}", flush=True)
    print(output, end="\n" if output else "", file=sys.stderr)
    return bool(output)


def main() -> int:
    """Check the pages; the status is 1 if anything fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs_check", description=__doc__)
    names = [str(page.relative_to(ROOT)) for page in PAGES]
    parser.add_argument("--page", choices=names, action="append", help="(default: all)")
    asked = parser.parse_args()
    seen: set[tuple[str, ...]] = set()  # README.zh-CN.md has the commands of README.md
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        failed = sum(check_page(ROOT / page, folder, seen) for page in asked.page or names)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
