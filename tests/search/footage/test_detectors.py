"""Detectors of people, and how each says what it lacks."""

import sys
from importlib.util import find_spec
from itertools import islice
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from PIL import Image
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from errors import InputError
from misc.search.footage.box import Box
from misc.search.footage.detectors import HOGDetector, TorchvisionDetector
from misc.synthetic.footage import Film

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    file = tmp_path_factory.mktemp("detector") / "weights.pth"
    torch.save(model.state_dict(), file)
    return file


def test_torchvision_boxes_are_those_of_people(weights):
    detector = TorchvisionDetector(weights, CPU)
    picture = Image.new("RGB", (64, 48), (255, 0, 51))
    assert all(0 <= box.left <= 64 and box.width <= 64 for box in detector.detect(picture))

    def find(images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        (image,) = images
        assert image.shape == (3, 48, 64)
        assert image[:, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.2])
        boxes = torch.tensor([[1.0, 2.0, 11.0, 32.0], [5.0, 5.0, 9.0, 9.0]])
        return [{"boxes": boxes, "labels": torch.tensor([1, 3]), "scores": torch.ones(2) / 2}]

    detector.model = find
    assert detector.detect(picture) == [Box(1, 2, 10, 30, 0.5)]


def test_other_weights_are_refused(tmp_path):
    text, other = tmp_path / "text.pth", tmp_path / "other.pth"
    text.write_text("no weights")
    torch.save({"weight": torch.zeros(1)}, other)
    for file, reason in (
        (text, "cannot be read as a state dict"),
        (tmp_path / "absent.pth", "cannot be read as a state dict"),
        (other, "is not a state dict of torchvision's Faster R-CNN"),
    ):
        with pytest.raises(InputError, match=rf"{file.name} {reason}"):
            TorchvisionDetector(file, CPU)


def test_a_failing_download_is_one_sentence(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(InputError, match=r"cannot download the detector .*no network.*--weights"):
        TorchvisionDetector(None, CPU)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (None, "needs OpenCV 4; pip install"),
        (SimpleNamespace(__version__="5.0.0"), r"OpenCV 5\.0\.0 has no detector hog"),
    ],
    ids=["none", "5"],
)
def test_hog_says_which_opencv_it_needs(monkeypatch, module, sentence):
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(InputError, match=sentence):
        HOGDetector()


def has_hog() -> bool:
    if find_spec("cv2") is None:
        return False
    import cv2

    return hasattr(cv2, "HOGDescriptor")


@pytest.mark.skipif(not has_hog(), reason="needs OpenCV 4")
def test_hog_finds_upright_people():
    picture, truth = next(islice(Film(people=6, seconds=8, fps=1).frames(), 4, None))
    people = [tuple(map(float, line.split(",")[2:6])) for line in truth]
    found = HOGDetector().detect(picture)
    assert len(found) >= 2
    for box in found:
        assert max(overlap(box, Box(*one)) for one in people) > 0.5


def overlap(box: Box, other: Box) -> float:
    """Intersection over union."""
    across = min(box.left + box.width, other.left + other.width) - max(box.left, other.left)
    down = min(box.top + box.height, other.top + other.height) - max(box.top, other.top)
    common = max(0.0, across) * max(0.0, down)
    return common / (box.width * box.height + other.width * other.height - common)
