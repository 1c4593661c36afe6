"""Cameras, each with its own background, light and lens."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from misc.synthetic.pedestrians.chance import Stream, around, between, generator, pick

PLACES = ("street", "park", "plaza", "crossing", "hall", "bricks")


@dataclass(frozen=True)
class Camera:
    """Properties common to all images of one camera.

    Args:
        place: the kind of background, one of `PLACES`.
        hue: of the background, 0 to 1.
        pitch: downward tilt in radians.
        sun: side of the light: -1 left, 1 right.
        gains: white balance.
        blur: radius, in percent of the image height.
        quality: of the JPEG files.
    """

    place: str
    hue: float
    pitch: float
    sun: int
    brightness: float
    contrast: float
    gains: tuple[float, float, float]
    blur: float
    noise: float
    quality: int


def draw_camera(seed: int, number: int, difficulty: float) -> Camera:
    """The camera with this number; cameras differ more at a higher difficulty."""
    rng = generator(seed, Stream.CAMERA, number)
    spread = 0.2 + 1.4 * difficulty
    warmth, tint = around(rng, 0.11 * spread), around(rng, 0.04 * spread)
    return Camera(
        place=PLACES[number % len(PLACES)],
        hue=float(rng.random()),
        pitch=between(rng, 0.04, 0.16 + 0.12 * difficulty),
        sun=pick(rng, (-1, 1)),
        brightness=1.0 + around(rng, 0.16 * spread),
        contrast=1.0 + around(rng, 0.12 * spread),
        gains=(1.0 + warmth, 1.0 + tint, 1.0 - warmth),
        blur=between(rng, 0.0, 0.5 * spread),
        noise=between(rng, 0.01, 0.05 * spread),
        quality=int(between(rng, 74, 92)),
    )


def develop(scene: Image.Image, camera: Camera, rng: Generator) -> Image.Image:
    """Apply the camera's light, white balance, blur and noise to a scene."""
    brightness = camera.brightness * (1.0 + around(rng, 0.05))
    radius = camera.blur * scene.height / 100
    if radius > 0.1:
        scene = scene.filter(ImageFilter.GaussianBlur(radius))
    levels = np.arange(256)
    exposed = (levels - 128) * camera.contrast + 128
    curve = [np.clip(exposed * brightness * gain, 0, 255) for gain in camera.gains]
    pixels = np.asarray(
        scene.point(np.concatenate(curve).astype(np.uint8).tolist()), dtype=np.int16
    )
    grain = (
        rng.integers(-100, 101, pixels.shape[:2], dtype=np.int16) * int(256 * camera.noise) // 256
    )
    return Image.fromarray(np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8))
