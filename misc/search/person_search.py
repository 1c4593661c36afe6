"""A trained model that encodes pictures and sentences to be compared with one another."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.data.loader import Items
from misc.retrieval.base import Loading, encode_items
from misc.retrieval.fusion import Fusion
from misc.retrieval.parts import Parts
from misc.runtime.distributed import Processes, choose_device
from misc.runtime.precision import Precision
from misc.search.onnx_folder import find_onnx_folder, open_onnx
from misc.search.opening import open_model
from misc.search.picture_batches import GivenPictures
from misc.tasks.encoder import build_encoder
from model.trees import Tree

if TYPE_CHECKING:
    from misc.search.index import Index

BATCH = 64


class PersonSearch:
    """A trained model that finds people, by words or by a picture.

    Examples:
        >>> people = PersonSearch("runs/demo-20260101-120000")
        >>> gallery = people.encode_images(["1.jpg", "2.jpg"])  # (2, D)
        >>> query = people.encode_texts(["a woman in a red coat"])  # (1, D)
        >>> (query @ gallery.T).argmax()

    Args:
        run_or_checkpoint: a run's folder (its best checkpoint), a checkpoint, of this project or of
            a published one, or a folder of `misc.export --format onnx`, run by onnxruntime.
        device: `cpu`, `cuda`, `cuda:1`, ...; None: a GPU if there is one.
        config: a recipe in place of the configuration that the run was saved with: a YAML file, or
            the content of one.
        processes: share the encoding of an index, under torchrun; None: this process alone.
        fusion: a file by `benchmarks.composed`: queries by words and a picture are composed by it,
            and not by the sum of their features.

    Raises:
        InputError: the checkpoint cannot be read, or its weights do not fit the configuration; or
            the fusion cannot be read, or is for another model.
    """

    def __init__(
        self,
        run_or_checkpoint: str | Path,
        device: str | None = None,
        *,
        config: str | Path | Tree | None = None,
        processes: Processes | None = None,
        fusion: str | Path | None = None,
    ) -> None:
        self.processes = processes or Processes(0, 1, choose_device(device))
        self.is_configured, path = config is not None, Path(run_or_checkpoint)
        if (folder := find_onnx_folder(path)) is not None:
            self.file, self.config, self.encoder = open_onnx(folder, self.is_configured)
        else:
            recipe = Path(config) if isinstance(config, str) else config
            checkpoint, self.config = open_model(path, recipe)
            self.file, self.encoder = checkpoint.file, build_encoder(self.config, checkpoint)
        self.encoder.model.to(self.processes.device)
        model_hash = self.encoder.model_hash
        self.fusion = None if fusion is None else Fusion.load(Path(fusion), model_hash)
        self.precision = Precision(self.config.experiment.precision, self.processes.device)
        self.cut_is_told = False  # that a description is too long
        self.loading = Loading(batch_size=BATCH, num_workers=0, chunk=self.config.evaluation.chunk)

    @property
    def reads_text(self) -> bool:
        """Whether people can be described; a re-identification model takes pictures alone."""
        return self.encoder.sentences is not None

    def encode_images(self, images: Sequence[str | Path | Image.Image]) -> Tensor:
        """L2-normalised features (N, D) of pictures, float32 on the CPU, to be compared with those
        of sentences; a re-identification model's with one another.

        Args:
            images: files, or pictures in memory.

        Raises:
            InputError: a file does not exist or cannot be read.
        """
        return self.encode_gallery(images)[:, : self.encoder.words]

    def encode_gallery(self, images: Sequence[str | Path | Image.Image]) -> Tensor:
        """Features (N, W) of pictures as an index holds them, float32 on the CPU: those of
        `encode_images`, and beside them others to compare with other pictures, if the model was
        trained for both.

        Args:
            images: as for `encode_images`.

        Raises:
            InputError: a file does not exist or cannot be read.
        """
        if isinstance(images, str | Path | Image.Image):
            raise TypeError("give a list of pictures, also of a single one")
        for image in images:
            if not isinstance(image, Image.Image) and not Path(image).is_file():
                fault = "is not a file" if Path(image).exists() else "does not exist"
                raise InputError(f"{image} {fault}; give an image file")
        return self._encode(GivenPictures(images, self.encoder.transform), self.encoder.encode)

    def encode_texts(self, sentences: Sequence[str]) -> Tensor:
        """L2-normalised features (N, D) of sentences, float32 on the CPU, in any language that the
        backbone reads.

        Raises:
            InputError: the model reads no text, or a sentence has no words.
        """
        if isinstance(sentences, str):
            raise TypeError("give a list of sentences, also of a single one")
        reading = self.encoder.sentences
        if reading is None:
            raise InputError(
                f"{self.file} is a re-identification model and cannot search by text: "
                "give a picture"
            )
        for sentence in sentences:
            if not re.search(r"\w", sentence):
                fault = f"{sentence!r} has no words" if sentence.strip() else "is empty"
                raise InputError(f"the description {fault}; describe the person in a sentence")
        items = reading.tokenize(sentences)
        self.cut_is_told = self.cut_is_told or items.log_cut("descriptions")
        features = self._encode(items, reading.encode)
        return features[:, : self.encoder.words]

    def _encode(self, items: Items[Tensor, Tensor], encode: Callable[[Tensor], Tensor]) -> Tensor:
        if not len(items):
            return torch.empty(0, self.width)
        return encode_items(
            items,
            encode,
            processes=replace(self.processes, rank=0, world_size=1),  # each for itself
            precision=self.precision,
            loading=self.loading,
        )

    @cached_property
    def width(self) -> int:
        """W, the number of values that an index holds of a picture."""
        return self.encode_gallery([Image.new("RGB", (8, 16))]).shape[1]

    @property
    def parts(self) -> Parts:
        """The parts of a picture's features."""
        return self.encoder.parts or Parts(self.width)

    def index(self, location: str | Path, *, half: bool = False) -> "Index":
        """The index at a location, a new one if there is none.

        Args:
            location: a folder, or a URI that Lance reads, such as `s3://bucket/people`.
            half: store features as float16: half the size, scores to three digits.

        Raises:
            InputError: the index is of another model, has features of the other size, or cannot be
                read or made.
        """
        from misc.search.index import Index

        return Index.open(str(location), self, half=half)
