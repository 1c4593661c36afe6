"""The towers of a trained model, each a function of one input, and their programs."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from errors import InputError
from misc.export.messages import quiet
from misc.export.trained_model import TrainedModel
from model.joint_clip import JointCLIP
from model.tbps_clip import TBPSCLIP

TRACED, BATCH_SIZES = 3, (1, 5)  # that a program is made at, and compared at
MOST_DIFFERENCE = 1e-5  # of a value of a feature
SENTENCES = (
    "a woman in a red coat",
    "a man with a black backpack and white shoes",
    "a pedestrian in a long blue dress is carrying a bag over the left shoulder and a phone",
)


class Tower(nn.Module):
    """A tower: inputs -> features (B, W), float32, as of `Encoder`.

    Args:
        name: `image` or `text`.
        encode: computes the features.
        sample: gives inputs (B, ...) for a batch size.
        parts: the modules that it uses; others of the model are left out of its program.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Tensor], Tensor],
        sample: Callable[[int], Tensor],
        parts: list[nn.Module],
    ) -> None:
        super().__init__()
        self.name, self.encode, self.sample = name, encode, sample
        self.parts = nn.ModuleList(parts)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.encode(inputs)

    @property
    def width(self) -> int:
        """W, the number of values of a feature."""
        with torch.inference_mode():
            return self(self.sample(1)).shape[1]


def build_towers(trained: TrainedModel) -> list[Tower]:
    """The towers of a model: of images, and of sentences if it reads them."""
    encoder, (rows, columns) = trained.encoder, trained.config.data.image_size

    def pictures(count: int) -> Tensor:
        generator = torch.Generator().manual_seed(count)
        return torch.randn(count, 3, rows, columns, generator=generator)

    towers = [Tower("image", encoder.encode, pictures, _parts(encoder.model, "text"))]
    if (reading := encoder.sentences) is not None:

        def sentences(count: int) -> Tensor:
            items = reading.tokenize([SENTENCES[i % len(SENTENCES)] for i in range(count)])
            return torch.stack([items[i] for i in range(count)])  # (count, L), not trimmed

        towers.append(Tower("text", reading.encode, sentences, _parts(encoder.model, "visual")))
    return [tower.eval() for tower in towers]


def _parts(model: nn.Module, other_tower: str) -> list[nn.Module]:
    """The modules of a model without those of one of its two towers."""
    if not isinstance(model, TBPSCLIP):
        return [model]
    own = [part for name, part in model.clip.named_children() if name != other_tower]
    if other_tower == "text" and isinstance(model, JointCLIP):
        own += [model.reid.image_head.neck, model.reid.projected_head.neck]
    selector = {"text": model.image_selector, "visual": model.text_selector}[other_tower]
    return own if selector is None else [*own, selector]


def trace(tower: Tower) -> ExportedProgram:
    """The program of a tower, for any batch size.

    Raises:
        InputError: torch.export cannot follow it.
    """
    inputs = tower.sample(TRACED)
    try:
        with torch.no_grad(), quiet():
            return export(tower, (inputs,), dynamic_shapes=({0: Dim("batch")},), strict=False)
    except Exception as error:  # torch has many, without a type in common
        reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
        raise InputError(
            f"torch.export cannot follow the {tower.name} tower ({reason[:200]}): give --format "
            "huggingface, or use the checkpoint itself"
        ) from error


def check_features(tower: Tower, run: Callable[[Tensor], Tensor], program: str) -> None:
    """Compare the features of a tower with those that another program of it gives.

    Args:
        run: inputs (B, ...) -> features (B, W).
        program: its name.

    Raises:
        InputError: they differ by more than 1e-5.
    """
    differences = []
    for inputs in map(tower.sample, BATCH_SIZES):
        with torch.inference_mode():
            differences.append(float((tower(inputs) - run(inputs)).abs().max()))
    found = max(differences)
    if not all(each <= MOST_DIFFERENCE for each in differences):  # also if one is no number
        raise InputError(
            f"the {tower.name} tower gives other features in {program} (they differ by "
            f"{found:.1e}, and {MOST_DIFFERENCE:g} is allowed): nothing was written"
        )
    sizes = " and ".join(map(str, BATCH_SIZES))
    print(
        f"{tower.name} tower: features in {program} differ from the checkpoint's by at most "
        f"{found:.1e} (batches of {sizes})"
    )


def check_rounded(tower: Tower, run: Callable[[Tensor], Tensor], program: str) -> None:
    """Print the least cosine of a tower's features with those of a program of lower precision.

    Args:
        run: inputs (B, ...) -> features (B, W).
        program: its name.

    Raises:
        InputError: a feature is not finite.
    """
    cosines = []
    for inputs in map(tower.sample, BATCH_SIZES):
        with torch.inference_mode():
            found = run(inputs)
            if not found.isfinite().all():
                raise InputError(
                    f"the {tower.name} tower gives features in {program} that are not finite, "
                    "since its values are beyond the range of this precision: give another "
                    "--precision"
                )
            cosines.append(F.cosine_similarity(tower(inputs), found).min().item())
    print(
        f"{tower.name} tower: features in {program} have a cosine of at least {min(cosines):.6f} "
        "with the checkpoint's"
    )
