"""The model card of an exported folder, README.md: facts of the run, and none beside them."""

import re
from pathlib import Path

from misc.export.preparation import describe_texts, public_config, public_source
from misc.export.trained_model import TrainedModel
from misc.runtime.checkpoint import BEST, LAST
from model.architecture import ImageShape, TextArchitecture
from model.configured import ConfiguredShape
from model.resnet import ResNetShape

RESULTS = "results.md"
LIBRARIES = {"huggingface": "transformers", "peft": "peft"}
TITLES = {
    "text_to_image": "text-to-image person search",
    "image_to_image": "re-identification of pictures",
    "both": "text-to-image person search, trained together with re-identification",
}
USE = {
    "huggingface": """\
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

folder = "FOLDER"  # of this file, or its repository on the hub
model = AutoModel.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder)
pictures = processor(Image.open("person.jpg"), return_tensors="pt")
image = model.get_image_features(**pictures{rectangle}).pooler_output  # (1, D)
words = tokenizer(["a woman in a red coat"], padding="max_length", truncation=True,
                  max_length={length}, return_tensors="pt")
text = model.get_text_features({words}).pooler_output  # (1, D)""",
    "onnx": """\
import onnxruntime

image = onnxruntime.InferenceSession("image.onnx")
(features,) = image.run(None, {{"images": images}})  # (B, 3, {rows}, {columns}) -> (B, D)""",
    "torch": """\
import torch

image = torch.export.load("image.pt2").module()
features = image(images)  # (B, 3, {rows}, {columns}) -> (B, D)""",
    "peft": """\
from peft import PeftModel
from transformers import AutoModel

model = PeftModel.from_pretrained(AutoModel.from_pretrained(BASE), "FOLDER").eval()""",
}


def write_card(trained: TrainedModel, folder: Path, format_name: str, title: str) -> None:
    """Write README.md into a folder.

    Args:
        format_name: of `misc.export --format`.
        title: of the page.
    """
    library = LIBRARIES.get(format_name)
    tag = "person-re-identification" if trained.is_reid else "person-search"
    head = [f"library_name: {library}"] if library else []
    parts = [
        "\n".join(["---", *head, "tags:", f"- {tag}", "- clip", "---"]),
        f"# {title}",
        _origin(trained, format_name),
        _facts(trained),
        f"## Results\n\n{_results(trained)}",
        f"## Use\n\n{_use(trained, format_name)}",
        f"## Configuration\n\n```yaml\n{public_config(trained).rstrip()}\n```",
        f"## Licence\n\n{_licence(trained)}",
    ]
    (folder / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _origin(trained: TrainedModel, format_name: str) -> str:
    checkpoint = trained.checkpoint
    origin = f"the checkpoint `{trained.file.resolve().parent.name}/{trained.file.name}`"
    if checkpoint.epoch:
        origin += f" (epoch {checkpoint.epoch}, recipe {checkpoint.recipe})"
    return (
        f"A model for {TITLES[trained.config.task]}, written by "
        f"`python -m misc.export --format {format_name}` from {origin}."
    )


def _facts(trained: TrainedModel) -> str:
    architecture, config = trained.checkpoint.architecture, trained.config
    rows, columns = config.data.image_size
    facts = {
        "Task": config.task,
        "Evaluated on": ", ".join(_datasets(trained)) or "not recorded",
        "Backbone": f"{architecture.backbone}{_tower(architecture.vision)}",
        "Images": f"{rows} x {columns} pixels, normalised by {config.data.normalize}",
        "Joint space": f"{architecture.embed_dim} dimensions",
    }
    if (text := describe_texts(trained)) is not None:
        cleaned = ', lower-cased and without . ! " ( ) * # : ; ~' if text.cleans else ""
        facts["Captions"] = f"at most {text.length} tokens{cleaned}"
    if isinstance(architecture, TextArchitecture) and architecture.tuning.names:
        facts["Tuned by"] = ", ".join(architecture.tuning.names)
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())])


def _tower(shape: ImageShape) -> str:
    if isinstance(shape, ResNetShape):
        return f", a ResNet of {' + '.join(map(str, shape.layers))} blocks"
    if isinstance(shape, ConfiguredShape):
        return ""
    patches = f"patches of {shape.patch_size} pixels at a stride of {shape.stride}"
    return f", a ViT of {shape.layers} blocks, {patches}"


def _own_results(trained: TrainedModel) -> str | None:
    """The closing table of the run, if it is of this checkpoint."""
    folder, name = trained.file.parent, trained.file.name
    is_chosen = name == BEST or (name == LAST and not (folder / BEST).exists())
    file = folder / RESULTS
    return file.read_text(encoding="utf-8") if is_chosen and file.is_file() else None


def _datasets(trained: TrainedModel) -> list[str]:
    rows = re.findall(r"^\| ([^|]+) \|", _own_results(trained) or "", flags=re.MULTILINE)
    return list(dict.fromkeys(row for row in rows if row != "Dataset"))


def _results(trained: TrainedModel) -> str:
    table = _own_results(trained)
    if table is None:
        return "None are recorded beside the checkpoint."
    return (
        "In percent, measured by the run itself with PyTorch, on the data set and split in the "
        f"first column:\n\n{table.rstrip()}"
    )


def _use(trained: TrainedModel, format_name: str) -> str:
    (rows, columns), sentences = trained.config.data.image_size, trained.encoder.sentences
    masks = trained.checkpoint.architecture.backbone in ("altclip", "chinese-clip")
    words = "**words" if masks else 'input_ids=words["input_ids"]'
    code = USE[format_name].format(
        rows=rows,
        columns=columns,
        rectangle="" if rows == columns else ", interpolate_pos_encoding=True",
        length=sentences and sentences.length,
        words=words,
    )
    note = "Compare features by their cosine."
    if format_name in ("onnx", "torch"):
        note = (
            "Features are L2-normalised. `preprocessing.json` says how pictures and sentences are "
            "prepared."
        )
    return f"```python\n{code}\n```\n\n{note}"


def _licence(trained: TrainedModel) -> str:
    model = trained.config.model
    source = Path(model.init_from).name if model.init_from else model.source
    if source is None:
        origin = "The training started from random weights, so that no licence is inherited from"
        return f"{origin} others' weights; the terms of the training data hold."
    return (
        "The weights inherit the licence of those that the training started from "
        f"(`{public_source(source)}`); the terms of the training data hold, too."
    )
