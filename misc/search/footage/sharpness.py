"""Sharpness of a picture."""

import numpy as np
from PIL import Image


def sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of the grey picture; 0 if it is smaller than 3 x 3 pixels."""
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())
