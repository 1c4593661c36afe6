"""The files that describe the programs of a model, beside them."""

import hashlib
import shutil
from pathlib import Path

from misc.export.preparation import (
    describe_images,
    describe_texts,
    public_config,
    write_preparation,
)
from misc.export.trained_model import TrainedModel
from misc.retrieval.calibration import FILE as CALIBRATION
from misc.search.exported import Exported


def write_description(
    trained: TrainedModel, folder: Path, width: int, precision: str = "fp32"
) -> None:
    """Write `preprocessing.json`, the configuration, the files of the tokenizer and of the image
    processor, and the run's calibration.

    Features of rounded weights are not compared with those of the checkpoint: they get a hash of
    their own, and no calibration.

    Args:
        width: W, of the features of pictures.
    """
    config, encoder = trained.config, trained.encoder
    model_hash = encoder.model_hash
    if precision != "fp32":
        model_hash = hashlib.sha256(f"{model_hash} {precision}".encode()).hexdigest()
    Exported(
        config.task,
        width,
        precision,
        model_hash,
        describe_images(encoder.transform),
        describe_texts(trained),
        encoder.preparation,
        encoder.parts,
    ).write(folder)
    (folder / "config.yaml").write_text(public_config(trained), encoding="utf-8")
    write_preparation(trained, folder)
    calibration = trained.file.parent / CALIBRATION
    if calibration.is_file() and precision == "fp32":
        shutil.copyfile(calibration, folder / CALIBRATION)
