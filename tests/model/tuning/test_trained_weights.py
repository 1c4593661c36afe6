"""The content of a tuned model's checkpoint, and the frozen weights that it belongs to."""

from pathlib import Path

import pytest
import torch

from errors import InputError
from misc.optim import freeze
from model.clip import CLIP, TextShape
from model.heads import Classifier
from model.tbps_clip import TBPSCLIP
from model.tuning.description import Tuning
from model.tuning.trained_weights import frozen_hash, load_trained, trained_state
from model.tuning.tune import frozen_names, tune
from model.vit import VisionShape

VISION = VisionShape(64, 2, 2, patch_size=16, stride=16, image_size=(64, 32))
TEXT = TextShape(48, 2, 2, context_length=20, vocab_size=300)
TUNING = {
    "prompts": {"n_ctx": 2, "depth": 2, "direction": "both"},
    "image_adapters": {"reduction": 8, "scale": 0.1},
    "lora": {"rank": 2, "towers": ["text"]},
}
FILE = Path("checkpoint.pt")


def build(tuning: dict, base: int = 0, new: int = 0) -> TBPSCLIP:
    """A model whose frozen weights are drawn with one seed, those that train with another one."""
    torch.manual_seed(base)
    clip = CLIP(VISION, TEXT, embed_dim=32)
    torch.manual_seed(new)
    tune(clip, Tuning.from_tree(tuning))
    model = TBPSCLIP(clip, classifier=Classifier(32, 3))
    freeze(model, frozen_names(model))
    return model


def parts(model: TBPSCLIP) -> tuple[dict[str, torch.Tensor], str]:
    state, names = model.state_dict(), frozen_names(model)
    return trained_state(state, names), frozen_hash(state, names)


def test_only_what_trains_is_held_and_what_was_fitted_to_the_run():
    model = build(TUNING)
    held, _ = parts(model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    fitted = {
        "clip.logit_scale",
        "clip.visual.positional_embedding",
        "clip.text.positional_embedding",
    }
    assert set(held) == trained | fitted
    assert "classifier.weight" in held


def test_the_hash_is_of_the_frozen_weights_alone():
    _, told = parts(build(TUNING))
    assert parts(build(TUNING, new=1))[1] == told
    assert parts(build({}))[1] == told  # whatever is added to them
    assert parts(build(TUNING, base=1))[1] != told
    model = build(TUNING)
    with torch.no_grad():
        model.clip.logit_scale.fill_(1.0)
        model.clip.visual.positional_embedding[0] += 1e-6
        assert parts(model)[1] == told
        model.clip.text.ln_final.bias[0] = 1e-30
    assert parts(model)[1] != told


def test_trained_weights_go_back_beside_the_same_frozen_ones():
    model, again = build(TUNING), build(TUNING, new=1)
    with torch.no_grad():
        model.clip.visual.positional_embedding.add_(1)
    held, told = parts(model)
    load_trained(again, held, frozen_names(again), told, FILE)
    state = again.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_other_frozen_weights_are_refused():
    held, told = parts(build(TUNING))
    other = build(TUNING, base=1)
    with pytest.raises(InputError, match=r"checkpoint.pt was trained on different frozen weights"):
        load_trained(other, held, frozen_names(other), told, FILE)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"prompts": {"n_ctx": 2, "depth": 1}}, "clip.prompts.image"),
        ({"image_adapters": {"reduction": 4, "scale": 0.1}}, "adapter.down.bias"),
        ({"lora": {"rank": 2, "towers": ["image"]}}, "lora_A.default.weight"),
    ],
)
def test_another_tuning_is_refused(change, name):
    held, told = parts(build(TUNING))
    other = build(TUNING | change)
    with pytest.raises(InputError, match="tuned in another way") as error:
        load_trained(other, held, frozen_names(other), told, FILE)
    assert name in str(error.value)
