"""The calibration of an index's model on pictures that somebody has described."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from errors import InputError
from misc.calibration import Calibration
from misc.datasets.people_folder import read_pictures
from misc.datasets.text_annotations import TextPicture
from misc.datasets.text_person import read_text_person
from misc.retrieval.calibration import WEIGHT, calibrate
from misc.retrieval.features import Features
from misc.search.person_search import PersonSearch


def read_described(annotations: str, images: Path | None) -> list[TextPicture]:
    """All pictures of an annotation file or folder, whatever their split, with full paths.

    Args:
        annotations: as for `read_text_person`, or a folder of people, whose pictures have no
            captions.
        images: the folder that paths are relative to; None: that of the annotations.

    Raises:
        InputError: as `read_text_person` or `read_pictures` do.
    """
    folder = Path(annotations)
    if folder.is_dir() and not any(folder.glob("*_reid*.json")):
        people = read_pictures(folder)
        return [TextPicture(p.path, p.identity, (), ()) for own in people for p in own]
    root = images or Path(annotations).parent
    try:
        splits = read_text_person(annotations, str(root)).splits
    except InputError as error:  # in the words of main.py's settings
        message = str(error).replace("data.annotation_file", "--annotations")
        raise InputError(message.replace("data.image_root", "--images")) from None
    return [picture for pictures in splits.values() for picture in pictures]


def calibrate_model(
    people: PersonSearch, pictures: Sequence[TextPicture], weight: float = WEIGHT
) -> Calibration:
    """The calibration of a model; a re-identification model's is of queries by picture alone.

    Args:
        weight: of the words where a query has a picture, too.

    Raises:
        InputError: a picture cannot be read, or they show too few people.
    """
    image = people.encode_gallery([picture.path for picture in pictures])
    described = [
        (caption, picture.identity) for picture in pictures for caption in picture.captions
    ]
    captions = [caption for caption, _ in described] if people.reads_text else []
    ids = [identity for _, identity in described] if people.reads_text else []
    return calibrate(
        Features(
            image=image,
            text=people.encode_texts(captions) if captions else image[:0, : people.parts.words],
            image_ids=torch.tensor([picture.identity for picture in pictures]),
            text_ids=torch.tensor(ids, dtype=torch.long),
            image_paths=tuple(picture.path for picture in pictures),
            captions=tuple(captions),
            model_hash=people.encoder.model_hash,
            parts=people.parts,
        ),
        weight,
    )


def check_size(calibration: Calibration, false_alarms: float) -> None:
    """Check that there are enough queries to tell such a share of false alarms.

    Raises:
        InputError: no kind of query has enough.
    """
    if all(kind.is_too_fine(false_alarms) for kind in calibration.kinds.values()):
        most = max(kind.absent.count for kind in calibration.kinds.values())
        raise InputError(
            f"{most} queries are too few for {100 * false_alarms:g} % false alarms; describe at "
            f"least {math.ceil(1 / false_alarms)} pictures, or allow more by --false-alarms"
        )
