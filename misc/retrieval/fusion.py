"""A learned fusion of a picture and words into one query: its training and its file."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.random import Generator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from errors import InputError
from misc.retrieval.composed import ComposedFeatures
from misc.runtime.atomic import atomic_write
from misc.runtime.seeding import Purpose, generator, seed_torch
from model.heads import Combiner
from model.objectives import sup_con

METADATA = "fusion"
EPOCHS, BATCH, RATE = 20, 128, 3e-3
TEMPERATURE = 0.03


@dataclass(frozen=True)
class Fusion:
    """A trained combiner, in evaluation mode, and the `encoder_hash` of the model it is for."""

    combiner: Combiner
    model_hash: str

    @torch.inference_mode()
    def __call__(self, image: Tensor, text: Tensor) -> Tensor:
        """Normalised features (..., D) of pictures and of words -> normalised queries (..., D)."""
        return self.combiner(image, text)

    def save(self, file: Path) -> None:
        """Write a safetensors file that `load` reads, atomically.

        Raises:
            InputError: it cannot be written.
        """
        description = {"model_hash": self.model_hash, "width": self.combiner.width}
        try:
            with atomic_write(file) as partial:
                metadata = {METADATA: json.dumps(description)}
                save_file(self.combiner.state_dict(), partial, metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot write {file} ({error}); choose another folder") from error

    @classmethod
    def load(cls, file: Path, model_hash: str) -> "Fusion":
        """Read a file that `save` wrote.

        Args:
            model_hash: of the model whose features are to be fused.

        Raises:
            InputError: the file does not exist, is damaged, or is for another model.
        """
        if not file.is_file():
            raise InputError(f"{file} does not exist; train a fusion by `benchmarks.composed`")
        try:
            with safe_open(file, framework="pt") as content:
                description = json.loads(content.metadata()[METADATA])
                state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            if not all(t.dtype == torch.float32 and t.isfinite().all() for t in state.values()):
                raise ValueError("not all of its values are finite float32")
            with torch.device("meta"):  # no memory for a width that the tensors do not have
                combiner = Combiner(description["width"])
            combiner.load_state_dict(state, assign=True)
            fusion = cls(combiner.eval(), description["model_hash"])
        except (OSError, SafetensorError, TypeError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{file} is not a fusion or is damaged; train it again by `benchmarks.composed`"
            ) from error
        if fusion.model_hash != model_hash:
            raise InputError(
                f"{file} is a fusion for another model; train one for this model by "
                "`benchmarks.composed`"
            )
        return fusion


def train_fusion(
    features: ComposedFeatures, model_hash: str, *, seed: int = 0, epochs: int = EPOCHS
) -> Fusion:
    """A fusion trained on the queries of a split, whose features stay as they are.

    Each query of a batch is contrasted with one picture for each of them, drawn among those of the
    instance that is searched for; pictures of the same instance are no negatives.

    Args:
        seed: of initialisation, batches and drawn pictures; dropout depends on it, too.
    """
    seed_torch(seed, Purpose.INITIALISATION)
    words = features.parts.words
    image, gallery = features.image[:, :words], features.gallery[:, :words]
    combiner = Combiner(image.shape[1])
    optimizer = torch.optim.AdamW(combiner.parameters(), lr=RATE)
    for epoch in range(epochs):
        rng = generator(seed, Purpose.ORDER, epoch)
        targets = gallery[_draw_targets(features, rng)]  # (Q, D)
        for rows in torch.from_numpy(rng.permutation(len(targets))).split(BATCH):
            query = combiner(image[rows], features.text[rows])
            ids = features.ids[rows]
            loss = sup_con(query, targets[rows], ids, ids, TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Fusion(combiner.eval(), model_hash)


def _draw_targets(features: ComposedFeatures, rng: Generator) -> Tensor:
    """A row of the gallery for each query, (Q,), drawn among those of its instance."""
    ids, order = features.gallery_ids.sort(stable=True)
    first = torch.searchsorted(ids, features.ids)
    number = torch.searchsorted(ids, features.ids, right=True) - first
    return order[first + (torch.from_numpy(rng.random(len(first))) * number).long()]
