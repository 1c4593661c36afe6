"""The tokenizer of a model, as the files that transformers and tokenizers read."""

import json
from pathlib import Path

from text_utils.tokenizer import ClipTokenizer, HubTokenizer, Tokenizer

FILE = "tokenizer.json"  # of the library tokenizers
OF_THIS_MACHINE = ("is_local", "local_files_only", "name_or_path")  # how it was read here
CLIP_SPECIAL = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
REMOVED = r'[.!"()*#:;~]'  # by `clean_caption`


def write_tokenizer(tokenizer: Tokenizer, folder: Path, length: int, cleans: bool) -> None:
    """Write the files of a tokenizer into a folder.

    Args:
        length: tokens of the longest caption.
        cleans: whether captions are cleaned first: CLIP's files then do so, too.
    """
    if isinstance(tokenizer, HubTokenizer):
        # As it was read, not as its files are: transformers chooses the class by config.json, too.
        tokenizer.pieces.save_pretrained(folder)
        _forget_machine(folder / "tokenizer_config.json")
    else:
        assert isinstance(tokenizer, ClipTokenizer)
        _write_clip(tokenizer, folder, length, cleans)


def _forget_machine(file: Path) -> None:
    settings = json.loads(file.read_text(encoding="utf-8"))
    for name in OF_THIS_MACHINE:
        settings.pop(name, None)
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _write_clip(tokenizer: ClipTokenizer, folder: Path, length: int, cleans: bool) -> None:
    from tokenizers import Regex, normalizers
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

    ranks, pieces = tokenizer.bpe.bpe_ranks, tokenizer.bpe.encoder
    built = CLIPTokenizer(
        vocab={CLIP_SPECIAL.get(piece, piece): number for piece, number in pieces.items()},
        merges=sorted(ranks, key=ranks.__getitem__),
    ).backend_tokenizer
    if cleans:
        remove = normalizers.Replace(Regex(REMOVED), " ")
        built.normalizer = normalizers.Sequence([remove, built.normalizer])
    start, end = CLIP_SPECIAL.values()
    # The class that reads tokenizer.json as it is; CLIPTokenizer would drop the cleaning.
    PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=start,
        eos_token=end,
        unk_token=end,
        pad_token=end,
        model_max_length=length,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
