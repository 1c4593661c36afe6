"""TBPS-CLIP and CLIP-ReID on one image tower: a person is found from a sentence and from a picture.

After the task-routed tokens of HPL (AAAI 2026), of which no code is public.
"""

from typing import overload

from torch import Tensor, nn

from model.clip_reid import CLIPReID
from model.interface import (
    JointBatch,
    JointOutputs,
    PromptBatch,
    PromptOutputs,
    TextBatch,
    TextOutputs,
)
from model.tbps_clip import ENCODERS, TBPSCLIP, Selectors
from model.vit import VisionTransformer
from model.weights.hash import hash_weights

REID = "reid."  # the beginning of the names of what only re-identification has
SHARED, TOWER = f"{REID}visual.", "clip.visual."


class JointCLIP(TBPSCLIP):
    """A TBPS-CLIP, with a CLIP-ReID on its image tower; what it does by itself is TBPS-CLIP's.

    Pictures are compared with sentences by the first class token; with one another by the second,
    if the tower has one, else by the first, too. A state dict has the image tower once.

    Args:
        text: the model whose parts this one takes over.
        reid: a model on the same image tower.
    """

    finishing = tuple(f"{REID}{name}" for name in CLIPReID.finishing)

    def __init__(self, text: TBPSCLIP, reid: CLIPReID) -> None:
        assert reid.visual is text.clip.visual
        selectors = None
        if text.image_selector is not None and text.text_selector is not None:
            selectors = Selectors(text.image_selector, text.text_selector)
        super().__init__(
            text.clip,
            text.simclr_mlp,
            text.classifier,
            text.mlm_decoder,
            selectors,
            text.fresh_soft_pass,
        )
        self.reid = reid
        self.register_state_dict_post_hook(_leave_out_copy)
        self.register_load_state_dict_pre_hook(_put_in_copy)

    @overload
    def forward(self, batch: TextBatch) -> TextOutputs: ...
    @overload
    def forward(self, batch: PromptBatch) -> PromptOutputs: ...
    @overload
    def forward(self, batch: JointBatch) -> JointOutputs: ...
    def forward(
        self, batch: TextBatch | PromptBatch | JointBatch
    ) -> TextOutputs | PromptOutputs | JointOutputs:
        """Outputs for the losses of the batch's task, or of both tasks."""
        return self.finish(self.encode(batch))

    @overload
    def encode(self, batch: TextBatch) -> TextOutputs: ...
    @overload
    def encode(self, batch: PromptBatch) -> PromptOutputs: ...
    @overload
    def encode(self, batch: JointBatch) -> JointOutputs: ...
    def encode(
        self, batch: TextBatch | PromptBatch | JointBatch
    ) -> TextOutputs | PromptOutputs | JointOutputs:
        """The outputs, without the logits of the pictures."""
        if isinstance(batch, TextBatch):
            return super().forward(batch)
        if isinstance(batch, PromptBatch):
            return self.reid.encode(batch)
        return JointOutputs(super().forward(batch.pairs), self.reid.encode(batch.pictures))

    @overload
    def finish(self, outputs: TextOutputs) -> TextOutputs: ...
    @overload
    def finish(self, outputs: PromptOutputs) -> PromptOutputs: ...
    @overload
    def finish(self, outputs: JointOutputs) -> JointOutputs: ...
    def finish(
        self, outputs: TextOutputs | PromptOutputs | JointOutputs
    ) -> TextOutputs | PromptOutputs | JointOutputs:
        """The outputs, with the logits of the pictures."""
        if isinstance(outputs, JointOutputs):
            return JointOutputs(outputs.pairs, self.reid.finish(outputs.pictures))
        return outputs

    def encode_gallery(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features to compare with sentences, as of `encode_image`, and with other pictures, as of
        `CLIPReID.encode_image`; one pass through the tower gives both where it can.
        """
        tower = self.clip.visual
        if isinstance(tower, VisionTransformer) and self.image_selector is None:
            words, (_, image, projected) = tower.both_features(images)
            return words, self.reid.join(image, projected)
        return self.encode_image(images), self.reid.encode_image(images)

    def encoder_hash(self) -> str:
        state = self.state_dict()
        return hash_weights({k: v for k, v in state.items() if k.startswith((*ENCODERS, REID))})

    def train_parts(self, learns_prompts: bool) -> None:
        """Choose what trains beside the backbone: the words of the prompts alone, or the heads."""
        frozen = self.reid.frozen(learns_prompts)
        for name, parameter in self.named_parameters():
            if name.startswith(REID):
                parameter.requires_grad_(not name.removeprefix(REID).startswith(frozen))
            elif not name.startswith("clip."):
                parameter.requires_grad_(not learns_prompts)


def _leave_out_copy(
    model: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, object]
) -> None:
    for name in [name for name in state if name.startswith(prefix + SHARED)]:
        del state[name]


def _put_in_copy(
    model: nn.Module, state: dict[str, Tensor], prefix: str, *arguments: object
) -> None:
    tower = prefix + TOWER
    shared = {name.removeprefix(tower): state[name] for name in state if name.startswith(tower)}
    state |= {prefix + SHARED + name: tensor for name, tensor in shared.items()}
