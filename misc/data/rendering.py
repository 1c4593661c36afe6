"""Pixels of random views (misc/data/views.py), for many pictures at once, on any device."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from misc.data.views import MOST_ERASED, View

COLUMNS = (4, 1, 1, 18, 1, 4 * MOST_ERASED)  # of the numbers of a view, by field
ANGLE, BLUR = sum(COLUMNS[:2]), sum(COLUMNS[:4])  # their columns


@dataclass(frozen=True)
class ViewRows:
    """N views as rows of numbers, on the CPU: which steps there are is known without a GPU."""

    rows: Tensor  # (N, 33), float32

    @classmethod
    def of(cls, views: Sequence[View]) -> "ViewRows":
        """The rows of some views."""
        return cls(torch.tensor([view.row() for view in views], dtype=torch.float32))

    def on(self, device: torch.device) -> "Fields":
        """The fields of all views, on a device."""
        return Fields(*self.rows.to(device, non_blocking=True).split(COLUMNS, dim=1))

    def erased(self) -> Iterator[tuple[int, ...]]:
        """The rectangles that become black: row of the view, top, left, height, width."""
        rectangles = self.rows[:, -4 * MOST_ERASED :].view(-1, MOST_ERASED, 4).int()
        for row, number in rectangles[:, :, 2].nonzero().tolist():
            yield row, *rectangles[row, number].tolist()

    def turned(self) -> list[int]:
        """The rows that are turned."""
        return self.rows[:, ANGLE].nonzero().flatten().tolist()

    def blurred(self) -> tuple[int, int, int]:
        """The first view that is blurred, the one after the last, and how many pixels the widest
        blur reaches; zeros: none is.
        """
        rows = self.rows[:, BLUR].nonzero()
        if not len(rows):
            return 0, 0, 0
        reach = math.ceil(3 * self.rows[:, BLUR].max().item())
        return int(rows[0]), int(rows[-1]) + 1, reach


@dataclass(frozen=True)
class Fields:
    """The fields of N views, as in `View`, (N, columns) each."""

    box: Tensor
    mirrored: Tensor
    angle: Tensor
    color: Tensor  # (N, 18): 3 rows of `own` beside `mean`
    blur: Tensor
    erased: Tensor  # (N, 8): two rectangles


def sample_pictures(pictures: Tensor, views: ViewRows) -> Tensor:
    """Crop, mirror and turn pictures, in one bilinear resampling without antialiasing.

    Args:
        pictures: (N, 3, rows, columns), 0 to 255.

    Returns:
        The same shape, float32.
    """
    fields = views.on(pictures.device)
    rows, columns = pictures.shape[-2:]
    x, y = (
        (2 * torch.arange(size, device=pictures.device) + 1) / size - 1 for size in (columns, rows)
    )  # -1 to 1
    angle, aspect = torch.deg2rad(fields.angle), rows / columns  # the angle is one of pixels
    # Places in the upright crop, as sums of what the column and the row contribute.
    crop_x = (angle.cos() * x)[:, None, :], (-angle.sin() * aspect * y)[:, :, None]
    crop_y = (angle.sin() / aspect * x)[:, None, :], (angle.cos() * y)[:, :, None]

    left, top, width, height = fields.box[:, :, None, None].unbind(1)
    sign = 1 - 2 * fields.mirrored[:, :, None]
    places = torch.empty(len(pictures), rows, columns, 2, device=pictures.device)
    across, down = sign * width, height
    torch.add(across * crop_x[0] + (2 * left + width - 1), across * crop_x[1], out=places[..., 0])
    torch.add(down * crop_y[0] + (2 * top + height - 1), down * crop_y[1], out=places[..., 1])
    images = F.grid_sample(pictures.float(), places, padding_mode="border", align_corners=False)
    for some in groups(views.turned(), pictures.device):  # outside of the crop they become black
        outside = [(part[0][some] + part[1][some]).abs() > 1 for part in (crop_x, crop_y)]
        images[some].masked_fill_((outside[0] | outside[1])[:, None], 0)
    return images


def groups(rows: list[int], device: torch.device) -> list[slice]:
    """Slices of a batch for a step that some rows need and that changes no other: each of them on a
    CPU, all rows at once on another device, where every call costs the same.
    """
    if device.type == "cpu":
        return [slice(row, row + 1) for row in rows]
    return [slice(None)] if rows else []


def finish_views(images: Tensor, views: ViewRows, mean: Tensor, std: Tensor) -> Tensor:
    """Change the colours of views, blur, normalise and erase them.

    Args:
        images: (N, 3, rows, columns), 0 to 255, cropped and turned.
        mean, std: (3,), of the normalisation, on the images' device.

    Returns:
        (N, 3, rows, columns), float32.
    """
    fields = views.on(images.device)
    images = change_colors(images.float(), fields.color)
    first, end, reach = views.blurred()
    if reach:
        some = slice(first, end)
        images[some] = blur_images(images[some], fields.blur[some], reach)
    images = images.sub_(mean[:, None, None]).div_(std[:, None, None])
    black = (-mean / std)[:, None, None]
    erased = [*views.erased()]
    if images.device.type != "cpu" and erased:
        return erase_rectangles(images, fields.erased, black)
    for row, top, left, height, width in erased:
        images[row, :, top : top + height, left : left + width] = black
    return images


def erase_rectangles(images: Tensor, erased: Tensor, black: Tensor) -> Tensor:
    """Erase the rectangles of all images at once.

    Args:
        images: (N, 3, rows, columns).
        erased: (N, 8), two rectangles each; one without height and width erases nothing.
        black: (3, 1, 1), the new value of each channel.
    """
    top, left, height, width = erased.view(-1, MOST_ERASED, 4, 1).unbind(2)  # (N, 2, 1) each
    rows, columns = (torch.arange(size, device=images.device) for size in images.shape[-2:])
    in_rows = (rows >= top) & (rows < top + height)  # (N, 2, rows)
    in_columns = (columns >= left) & (columns < left + width)
    inside = (in_rows[..., None] & in_columns[..., None, :]).any(1, keepdim=True)
    return torch.where(inside, black, images)


def change_colors(images: Tensor, color: Tensor) -> Tensor:
    """Linear changes of colours, (N, 18), of images from 0 to 255.

    Returns:
        (N, 3, rows, columns), 0 to 1.
    """
    own, mean = (color / 255).view(-1, 3, 6).split(3, dim=2)
    pixels = images.flatten(2)
    offset = mean @ pixels.mean(dim=2, keepdim=True)
    return torch.baddbmm(offset, own, pixels).clamp_(0, 1).view_as(images)


def blur_images(images: Tensor, deviation: Tensor, reach: int) -> Tensor:
    """Gaussian blur, to three deviations or as far as the image allows.

    Args:
        images: (N, 3, rows, columns), mirrored at the border.
        deviation: (N, 1), in pixels; 0 leaves an image as it is.
        reach: pixels that the widest blur reaches.
    """
    reach = min(reach, min(images.shape[-2:]) - 1)
    distance = torch.arange(reach + 1, device=images.device)
    weight = (-0.5 * (distance / deviation.clamp(min=1e-6)).square()).exp()  # (N, reach + 1)
    weight = weight * (distance <= (3 * deviation).ceil())
    weight = weight / (2 * weight.sum(dim=1, keepdim=True) - 1)
    for axis, padding in ((-2, (0, 0, reach, reach)), (-1, (reach, reach, 0, 0))):
        padded, size = F.pad(images, padding, mode="reflect"), images.shape[axis]
        images = padded.narrow(axis, reach, size) * weight[:, 0, None, None, None]
        for step in range(1, reach + 1):
            both = padded.narrow(axis, reach - step, size) + padded.narrow(axis, reach + step, size)
            images.addcmul_(both, weight[:, step, None, None, None])
    return images
