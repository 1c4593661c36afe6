"""Images of one identity of a synthetic re-identification dataset, and the dataset's arguments.

Every identity has at least two images from each of at least two cameras. The first test image from
each camera is a query, the others are in the gallery.
"""

from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from PIL import Image

from errors import InputError
from misc.runtime.picture_writing import write_picture
from misc.synthetic import pedestrians, vehicles
from misc.synthetic.drawing_plan import DrawingPlan
from misc.synthetic.pedestrians.chance import Stream, generator, happens, pick
from misc.synthetic.pedestrians.shots import BLOCKERS
from misc.synthetic.reid_layouts import REID_LAYOUTS, UNLABELLED, ReIDLayout, ReIDSample

# Increase it when the same arguments give different files; existing datasets are checked for it.
VERSION = 1
MOST_IMAGES = 99  # the last two digits of a serial number


@dataclass(frozen=True)
class ReIDPlan(DrawingPlan):
    """Arguments of a dataset; `viewpoints`: whether VeRi-776 gets its keypoint files."""

    layouts: ClassVar[dict[str, ReIDLayout]] = REID_LAYOUTS
    fewest_images: ClassVar[int] = 4

    viewpoints: bool = True
    version: int = VERSION

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(self.identities.get(split) for split in self.published.splits):
            raise InputError(f"{self.layout} needs identities in both train and test.")
        if self.images[1] > MOST_IMAGES:
            raise InputError(f"images per identity {self.images}: give at most {MOST_IMAGES}.")

    @property
    def published(self) -> ReIDLayout:
        return REID_LAYOUTS[self.layout]


def write_reid_samples(folder: Path, plan: ReIDPlan, split: str, identity: int) -> list[ReIDSample]:
    """Draw the images of an identity into the dataset's folder.

    Every second test identity also adds a distractor and a false detection, if the layout has them.
    """
    layout = plan.published
    written = identity
    if layout.numbered_apart and split == "test":
        written -= plan.identities["train"] + plan.skipped
    visits = generator(plan.seed, Stream.VISITS, identity)
    number = int(visits.integers(plan.images[0], plan.images[1] + 1))
    cameras = [int(camera) for camera in visits.permutation(layout.cameras)[: number // 2]]
    samples = []
    for picture, camera in zip(range(number), cycle(cameras), strict=False):
        role = split
        if split == "test" and layout.has_queries:
            role = "query" if picture < len(cameras) else "gallery"
        drawn = identity, picture
        samples.append(_write(folder, plan, role, drawn, written=written, camera=camera))
    if split == "test" and identity % 2 == 0:
        if layout.stranger:
            stranger = identity + sum(plan.identities.values())
            written = layout.stranger(stranger)
            drawn = stranger, 0
            samples.append(
                _write(folder, plan, "gallery", drawn, written=written, camera=cameras[0])
            )
        if layout.has_junk:
            drawn = identity, number
            samples.append(_write(folder, plan, "junk", drawn, written=-1, camera=cameras[0]))
    return samples


def _write(
    folder: Path, plan: ReIDPlan, role: str, drawn: tuple[int, int], *, written: int, camera: int
) -> ReIDSample:
    """Draw one image from the random stream of `drawn`, (subject, image), and save it.

    Args:
        written: the identity in its file name.
    """
    draw = _draw_vehicle if plan.published.vehicles else _draw_pedestrian
    image, quality, viewpoint = draw(plan, role, drawn, camera)
    path = plan.published.path(role, written, camera, (MOST_IMAGES + 1) * drawn[0] + drawn[1])
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    write_picture(folder / path, image, quality=quality)
    return ReIDSample(role, written, path, viewpoint)


def _draw_pedestrian(
    plan: ReIDPlan, role: str, drawn: tuple[int, int], number: int
) -> tuple[Image.Image, int, int]:
    """The image, its JPEG quality, and no viewpoint."""
    camera = pedestrians.draw_camera(plan.seed, number, plan.difficulty)
    person = pedestrians.draw_identity(plan.seed, drawn[0], plan.difficulty)
    rng = generator(plan.seed, Stream.PICTURE, *drawn)
    shot = pedestrians.draw_shot(rng, camera, plan.difficulty)
    if role == "junk":
        shot = replace(shot, zoom=2.2, shift_x=pick(rng, (-0.6, 0.6)), shift_y=0.4)
    if plan.published.occluded and (role == "query" or happens(rng, 0.1)):
        shot = replace(shot, occluder=pick(rng, BLOCKERS))
    size = pedestrians.draw_size(rng, person, plan.height)
    return pedestrians.draw_picture(person, shot, size, rng), camera.quality, UNLABELLED


def _draw_vehicle(
    plan: ReIDPlan, role: str, drawn: tuple[int, int], number: int
) -> tuple[Image.Image, int, int]:
    """The image, its JPEG quality, and its viewpoint, which is unlabelled in a few images."""
    camera = pedestrians.draw_camera(plan.seed, number, plan.difficulty)
    vehicle = vehicles.draw_vehicle(plan.seed, drawn[0], plan.difficulty)
    rng = generator(plan.seed, Stream.PICTURE, *drawn)
    shot = vehicles.draw_shot(rng, camera, plan.difficulty)
    image = vehicles.draw_picture(vehicle, shot, plan.height, rng)
    labelled = plan.viewpoints and not happens(rng, 0.05)
    return image, camera.quality, shot.viewpoint if labelled else UNLABELLED
