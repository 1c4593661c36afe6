"""Make the files of the code of commit 3b5375d, in miniature; run beside that code.

OMP_NUM_THREADS=1 PYTHONPATH=CHECKOUT python make.py WORK [PACKED]
"""

import json
import lzma
import shutil
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch

import main
import options
from misc import export
from misc.checkpoint import BEST, LAST, Start, read_checkpoint
from misc.datasets import synthetic
from misc.text_model import restored_model
from misc.trainer import Trainer
from model.clip import CLIP, TextShape
from model.published import IRRA, to_cskt
from model.published_reid import to_clip_reid
from model.vit import VisionShape
from model.weights import join_in_proj, rename_all, to_openai
from tests import altclip_folders
from text_utils.captions import clean_caption
from text_utils.tokenizer import ClipTokenizer

COMMANDS = Path("COMMANDS.txt")
TEXT_DATA = (
    *("--layout", "cuhk-pedes", "--output", "pedestrians", "--images", "2", "2"),
    *("--height", "40", "64", "--train", "12", "--val", "4", "--test", "6"),
)
REID_DATA = (
    *("--layout", "market1501", "--output", "reid", "--images", "4", "5"),
    *("--height", "32", "48", "--train", "6", "--test", "4"),
)
TEXT_PLACES = (
    "data.annotation_file=pedestrians/CUHK-PEDES/processed",
    "data.image_root=pedestrians/CUHK-PEDES/imgs",
)
REID_PLACES = ("reid.root=reid",)
PRETRAINED = "model.clip_pretrained=pretrained.pt"
FEW = (
    "data.batch_size=8",
    "data.test_batch_size=16",
    "data.num_workers=0",
    "evaluation.ranked_lists=0",
    "log.print_period=1",
    "model.embed_dim=16",
)
SIZE = "data.image_size=[32,16]"
HEAD = "experiment.simclr_mlp=[16, 8, 16]"
TOWERS = (  # for files that do not tell all of it
    "model.clip_pretrained=null",
    "model.vision={width: 16, layers: 2, heads: 1, patch_size: 8}",
    "model.text={width: 16, layers: 2, heads: 1}",
)
TUNING = (
    *("data.global_batch_size=null", "prompts.depth=2", "adapters.reduction=4"),
    "schedule={epoch: 1, epoch_warmup: 0, lr: 1e-2, eps: 1e-8}",
)
FOLDER = "model.altclip_pretrained=altclip_folder"


def recipe(name: str) -> tuple[str, str]:
    return "--config", str(options.RECIPES / name)


def note(command: str, words: tuple[str, ...]) -> None:
    told = [word.replace(f"{options.RECIPES}", "config") for word in words]
    quoted = " ".join(f"'{word}'" if set(word) & set("[{ ") else word for word in told)
    with COMMANDS.open("a") as file:
        file.write(f"{command} {quoted}\n")


def run(*words: str) -> None:
    """`python main.py WORDS`."""
    note("python main.py", words)
    sys.argv = ["main.py", *words]
    main.main()


def run_and_interrupt(step: int, *words: str) -> None:
    """The same, and ^C before this step."""
    whole = Trainer.step

    def step_or_stop(self: Trainer, batch: object, number: int) -> object:
        if number == step:
            signal.raise_signal(signal.SIGINT)
        return whole(self, batch, number)

    with COMMANDS.open("a") as file:
        file.write(f"# the next one is interrupted by SIGINT after step {step}\n")
    Trainer.step, code = step_or_stop, None
    try:
        run(*words)
    except SystemExit as ended:
        code = ended.code
    Trainer.step = whole
    assert code == 130


def draw() -> None:
    for words in (TEXT_DATA, REID_DATA):
        note("python -m misc.datasets.synthetic", words)
        assert synthetic.main([*words]) == 0


def words_that_occur() -> list[int]:
    """Ids of all that the towers read here; the rows of the others are zeros."""
    texts = {"A photo of a X X X X person.", "a photo of a"}
    for file in Path(TEXT_PLACES[0].partition("=")[2]).glob("*.json"):
        for record in json.loads(file.read_text(encoding="utf-8")):
            texts |= {clean_caption(text) for text in strings(record)}
    texts |= {word for text in texts for word in text.split()}
    return ClipTokenizer()(sorted(texts)).unique().tolist()


def strings(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for part in content.values():
            yield from strings(part)
    elif isinstance(content, list):
        for part in content:
            yield from strings(part)


@torch.no_grad()
def write_pretrained() -> None:
    torch.manual_seed(0)
    vision = VisionShape(16, 2, 1, patch_size=8, stride=8, image_size=(32, 32))
    clip = CLIP(vision, TextShape(16, 2, 1, context_length=77, vocab_size=49408), embed_dim=16)
    for parameter in clip.parameters():
        if parameter.ndim == 1:  # biases and norms too, so that none hides
            parameter += 0.1 * torch.randn_like(parameter)
        elif parameter.ndim == 2:
            parameter.normal_(std=parameter.shape[1] ** -0.5)
    rows = clip.text.token_embedding.weight
    kept = words_that_occur()
    held = 0.1 * torch.randn(len(kept), 16)
    rows.zero_()
    rows[kept] = held
    torch.save(to_openai(clip.state_dict()), "pretrained.pt")


def evaluate(file: str, output: str, *words: str) -> None:
    run("--evaluate", file, "--output", output, *words)


def text() -> None:
    few = (*FEW, SIZE, HEAD, "experiment.id=true")
    rate = ("schedule={epoch: 2, lr: 3e-3}", "log.save_period=4")
    words = (*recipe("config.yaml"), *few, *rate, *TEXT_PLACES, PRETRAINED)
    run_and_interrupt(10, "--output", "text/interrupted", *words)
    shutil.copytree("text/interrupted", "text/finished")
    run("--resume", "text/finished", *TEXT_PLACES)
    features = ("--save-features", "text/evaluated/features.safetensors")
    evaluate(f"text/finished/{BEST}", "text/evaluated", *features, *TEXT_PLACES)


def reid() -> None:
    stages = (
        "stages.prompts.schedule={epoch: 2, epoch_warmup: 1, lr: 1e-2}",
        "stages.images.schedule={epoch: 2, epoch_warmup: 1, milestones: [2], lr: 1e-3}",
        "log.save_period=5",
    )
    few = (*FEW, SIZE, "data.global_batch_size=8", "reid.sie=camera", *stages)
    words = (*recipe("clipreid_vit.yaml"), *few, *REID_PLACES, PRETRAINED)
    run_and_interrupt(11, "--output", "reid_run/interrupted", *words)
    shutil.copytree("reid_run/interrupted", "reid_run/finished")
    run("--resume", "reid_run/finished", *REID_PLACES)
    features = ("--save-features", "reid_run/evaluated/features.safetensors")
    evaluate(f"reid_run/finished/{LAST}", "reid_run/evaluated", *features, *REID_PLACES)


def tuned() -> None:
    for name, way in (
        ("lora", ("prompts.n_ctx=0", "adapters.towers=[]", "lora={rank: 2}")),
        ("cskt", ()),
    ):
        words = (*recipe("cskt.yaml"), *FEW, SIZE, *TUNING, *way, *TEXT_PLACES, PRETRAINED)
        run("--output", f"tuned/{name}", *words)
        evaluate(f"tuned/{name}/{BEST}", f"tuned/{name}_evaluated", *TEXT_PLACES, PRETRAINED)


def published() -> None:
    Path("published").mkdir()
    best = read_checkpoint(Path("text/finished") / BEST)
    exported = (f"text/finished/{BEST}", "published/tbps_clip.pth")
    note("python -m misc.export", exported)
    assert export.main([*exported]) == 0

    state = rename_all(join_in_proj(best["model"]), IRRA)  # which has a fixed scale and no SimCLR
    kept = {k: v for k, v in state.items() if not k.startswith(("simclr_mlp.", "base_model.logit"))}
    torch.save({"model": kept}, "published/irra.pth")

    file = Path("tuned/cskt") / BEST
    content = read_checkpoint(file)
    config = options.parse([PRETRAINED]).configure(content["config"])
    model = restored_model(config, Start(file, content), with_heads=False)
    torch.save({"model": to_cskt(model.state_dict())}, "published/cskt.pth")

    weights = read_checkpoint(Path("reid_run/finished") / LAST)["model"]
    torch.save(to_clip_reid(weights), "published/clip_reid.pth")

    for name, words in (
        ("tbps_clip", (*recipe("config.yaml"), HEAD, *TEXT_PLACES)),
        ("irra", (*recipe("config.yaml"), HEAD, *TEXT_PLACES)),
        ("cskt", (*recipe("cskt.yaml"), *TEXT_PLACES)),
        ("clip_reid", (*recipe("clipreid_vit.yaml"), "reid.sie=camera", *REID_PLACES)),
    ):
        output = f"published/{name}_evaluated"
        evaluate(f"published/{name}.pth", output, *words, *FEW, SIZE, *TOWERS)


def altclip() -> None:
    altclip_folders.write_altclip_folder(
        "altclip_folder",
        text_width=16,
        width=16,
        project_dim=16,
        embed_dim=16,
        context_length=80,
        vocab_size=400,
        texts=(*altclip_folders.phrases(altclip_folders.ENGLISH), altclip_folders.LETTERS[0]),
    )
    few = (*FEW, "data.image_size=[32,32]", "model.projection_dim=16")
    rate = "schedule={epoch: 1, epoch_warmup: 0, lr: 1e-3}"
    words = (*recipe("s.config.yaml"), "--backbone", "altclip", *few, rate, *TEXT_PLACES, FOLDER)
    run("--output", "altclip", *words)
    evaluate(f"altclip/{BEST}", "altclip_evaluated", *TEXT_PLACES, FOLDER)


def pack(packed: Path) -> None:
    """Everything that the tests need, compressed; of two equal files one."""
    record = ("config.yaml", "metrics.jsonl", "log.txt", LAST, BEST)
    files = {"pretrained.pt": "pretrained.pt"}
    for ours, theirs, found in (("text", "text", (LAST, BEST)), ("reid", "reid_run", (LAST,))):
        for name in record[:3] + found:
            files[f"{ours}/interrupted/{name}"] = f"{theirs}/interrupted/{name}"
        for name in ("metrics.jsonl", "results.json", *found):
            files[f"{ours}/finished/{name}"] = f"{theirs}/finished/{name}"
        for name in ("results.json", "features.safetensors"):
            files[f"{ours}/evaluated/{name}"] = f"{theirs}/evaluated/{name}"
    for name in ("lora", "cskt"):
        files[f"tuned/{name}.pt"] = f"tuned/{name}/{BEST}"
        files[f"tuned/{name}.json"] = f"tuned/{name}_evaluated/results.json"
    for name in ("tbps_clip", "irra", "cskt", "clip_reid"):
        files[f"published/{name}.pth"] = f"published/{name}.pth"
        files[f"published/{name}.json"] = f"published/{name}_evaluated/results.json"
    files["altclip/checkpoint.pt"] = f"altclip/{BEST}"
    files["altclip/checkpoint.json"] = "altclip_evaluated/results.json"
    for name, source in files.items():
        if Path(source).exists():
            write_xz(packed / f"{name}.xz", Path(source).read_bytes())
    with tarfile.open("altclip_folder.tar", "w") as archive:
        for file in sorted(Path("altclip_folder").iterdir()):
            plain = tarfile.TarInfo(f"folder/{file.name}")
            plain.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(plain, content)
    write_xz(packed / "altclip/folder.tar.xz", Path("altclip_folder.tar").read_bytes())


def write_xz(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(lzma.compress(content, preset=9))


if __name__ == "__main__":
    import os

    work, *asked = (Path(word).resolve() for word in sys.argv[1:])
    work.mkdir(parents=True)
    os.chdir(work)
    for do in (draw, write_pretrained, text, reid, tuned, published, altclip):
        do()
    for packed in asked:
        pack(packed)
