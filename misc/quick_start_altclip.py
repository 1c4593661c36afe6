"""The similarity of a few texts and pictures according to AltCLIP.

python misc/quick_start_altclip.py --text "红色上衣的女生" "a man wearing a blue coat"
python misc/quick_start_altclip.py --device cuda:0 --text "a man in a cap" --image 1.jpg 2.jpg

Without --image it draws pedestrians: those that the texts describe, and others.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # the root instead of misc/, whose `datasets` would hide Hugging Face's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import torch.nn.functional as F
from PIL import Image
from prettytable import PrettyTable
from torch import Tensor, nn

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.runtime.distributed import processes
from misc.runtime.precision import Precision
from misc.runtime.script import Parser, given, given_path, run_script
from misc.synthetic.pedestrians.portraits import Portrait, Wanted, read_wanted

BYSTANDERS = (
    Portrait("woman", "green", "dress"),
    Portrait("man", "yellow", "hoodie"),
    Portrait("woman", "white", "shirt"),
    Portrait("man", "black", "jacket"),
)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python misc/quick_start_altclip.py",
        description="Show the similarity of texts and pictures according to AltCLIP.",
    )
    add = parser.add_argument
    add("--text", nargs="+", required=True, metavar="TEXT", help="in any of AltCLIP's languages")
    add(
        "--image",
        nargs="+",
        type=given_path,
        metavar="FILE",
        help="pictures (default: drawn pedestrians)",
    )
    add("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    about = "BAAI/AltCLIP (default), a folder in the hub's layout, or the root of a cache"
    add(
        "--altclip_pretrained",
        type=given,
        default="BAAI/AltCLIP",
        metavar="NAME_OR_FOLDER",
        help=about,
    )
    about = "one more folder or root to search; downloads go there"
    add("--cache_dir", type=given, metavar="FOLDER", help=about)
    return parser


def _run(asked: argparse.Namespace) -> None:
    with processes(asked.device) as own:
        if own.is_main:
            _show(asked, own.device)


@torch.inference_mode()
def _show(asked: argparse.Namespace, device: torch.device) -> None:
    wanted = [read_wanted(text) for text in asked.text]
    if asked.image:
        portraits: list[Portrait] = []
        names = [file.name for file in asked.image]
        pictures = [_read(file) for file in asked.image]
    else:
        portraits = list(dict.fromkeys([*(w.example for w in wanted if w), *BYSTANDERS]))
        names = [str(portrait) for portrait in portraits]
        pictures = [portrait.draw(seed) for seed, portrait in enumerate(portraits)]

    # Imported here: transformers takes seconds, and an error above should not wait for it.
    from model.altclip_adapter import build_altclip_clip

    clip, tokenizer, processor = build_altclip_clip(
        asked.altclip_pretrained, asked.cache_dir, device
    )
    precision = Precision("auto", device)
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    tokens = tokenizer.trim(tokenizer(asked.text))
    with precision.autocast():
        image, text = clip.encode_image(pixels.to(device)), clip.encode_text(tokens.to(device))
    similarity = F.normalize(image.float()) @ F.normalize(text.float()).T  # (N, M)

    print(_format_table(names, similarity))
    for number, query in enumerate(asked.text):
        best = int(similarity[:, number].argmax())
        verdict = _judge(wanted[number], portraits, best)
        print(f"text {number + 1} {query!r}: the best match is {names[best]}; {verdict}")
    scale = clip.logit_scale.item()
    print(f"{'logit_scale':<16} {scale:.4f}, the logarithm of {clip.logit_scale.exp().item():.2f}")
    print(f"{'logit_bias':<16} {clip.logit_bias}")
    print(f"{'embedding width':<16} {clip.embed_dim}")
    for name, part in (("image tower", clip.visual), ("text tower", clip.text), ("all", clip)):
        print(f"{name:<16} {_count(part):,} parameters")
    print(f"{'device':<16} {device}")
    print(f"{'precision':<16} {precision.name}")


def _read(file: Path) -> Image.Image:
    if not file.is_file():
        raise InputError(f"--image {file} does not exist")
    return read_picture(file)


def _format_table(names: Sequence[str], similarity: Tensor) -> str:
    """A table of cosine similarities (N, M): a row for each picture, a column for each text."""
    texts = [f"text {number + 1}" for number in range(similarity.shape[1])]
    table = PrettyTable(["", *texts], title="cosine similarity", align="r")
    table.align[""] = "l"
    for name, row in zip(names, similarity.tolist(), strict=True):
        table.add_row([name, *(f"{value:.4f}" for value in row)])
    return table.get_string()


def _judge(wanted: Wanted | None, portraits: Sequence[Portrait], best: int) -> str:
    """The sentence that says whether the best portrait is one that the text describes."""
    if not portraits:
        return "the right one is only known for drawn pedestrians"
    if wanted is None:
        return "the right one is not known: no garment and colour were found in the text"
    if wanted.fits(portraits[best]):
        return "it is the right one"
    right = " or ".join(str(portrait) for portrait in portraits if wanted.fits(portrait))
    return f"it is the wrong one; the right one is {right}"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


if __name__ == "__main__":
    sys.exit(main())
