"""Detectors of people in a picture."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection import (
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    fasterrcnn_mobilenet_v3_large_320_fpn,
)
from torchvision.transforms.functional import pil_to_tensor

from errors import InputError
from misc.search.footage.box import Box

PERSON = 1  # in COCO
COCO = FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1
NUM_CLASSES = 91
# Part of a HOG window on each side that is not the person (Dalal & Triggs: 16 of 128 rows).
HOG_BORDER = 1 / 8


class TorchvisionDetector:
    """Faster R-CNN on MobileNetV3 with a feature pyramid, trained on COCO.

    Args:
        weights: a state dict; None downloads it once.

    Raises:
        InputError: the weights cannot be downloaded, or are of another model.
    """

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        self.device = device
        self.model = fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=NUM_CLASSES
        )
        state = _download() if weights is None else _read_state(weights)
        try:
            self.model.load_state_dict(state)
        except (RuntimeError, TypeError) as error:
            raise InputError(
                f"--weights {weights} is not a state dict of torchvision's Faster R-CNN "
                f"MobileNetV3 320 FPN; download {COCO.url}"
            ) from error
        self.model.to(device).eval()

    @torch.inference_mode()
    def detect(self, picture: Image.Image) -> list[Box]:
        image = pil_to_tensor(picture).to(self.device).float() / 255
        (found,) = self.model([image])
        people = found["labels"] == PERSON
        boxes = zip(found["boxes"][people].tolist(), found["scores"][people].tolist(), strict=True)
        return [
            Box(left, top, right - left, bottom - top, score)
            for (left, top, right, bottom), score in boxes
        ]


class HOGDetector:
    """OpenCV's detector of upright people (Dalal & Triggs 2005), which needs no weights.

    Raises:
        InputError: there is no OpenCV, or one without this detector.
    """

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError as error:
            raise InputError(
                'the detector hog needs OpenCV 4; pip install "opencv-python-headless<5"'
            ) from error
        if not hasattr(cv2, "HOGDescriptor"):
            raise InputError(
                f"OpenCV {cv2.__version__} has no detector hog; pip install "
                '"opencv-python-headless<5"'
            )
        self.hog = cv2.HOGDescriptor()
        self.hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def detect(self, picture: Image.Image) -> list[Box]:
        windows, scores = self.hog.detectMultiScale(
            np.asarray(picture)[:, :, ::-1].copy(), winStride=(8, 8), padding=(8, 8), scale=1.05
        )
        return [
            Box(float(left), float(top), float(width), float(height), float(score)).enlarged(
                -HOG_BORDER
            )
            for (left, top, width, height), score in zip(windows, np.ravel(scores), strict=True)
        ]


def _download() -> dict[str, Tensor]:
    try:
        return dict(COCO.get_state_dict(check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:  # no network; a wrong hash
        raise InputError(
            f"cannot download the detector ({error}); give --weights FILE with {COCO.url}"
        ) from error


def _read_state(file: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises all kinds on a file that it cannot read
        raise InputError(
            f"--weights {file} cannot be read as a state dict; download {COCO.url}"
        ) from error
    return state
