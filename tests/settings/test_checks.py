"""Settings that are valid one by one, but not together."""

from tests import ROOT
from tests.command_line import configure, refusal


def test_nothing_to_train():
    complaint = "command line: experiment: no loss is left to train"
    assert complaint in refusal("--simplified", "experiment.nitc=false", "experiment.ritc=false")
    assert complaint in refusal("--simplified", "experiment.nitc=false", "experiment.ritc_ratio=0")
    assert configure("experiment.nitc=false", "experiment.ritc=false", "experiment.itc=true")


def test_image_below_a_patch_only_matters_from_scratch():
    assert configure("data.image_size=8").data.image_size == (8, 8)
    message = refusal("data.image_size=[32, 8]", "model.clip_pretrained=null")
    assert "data.image_size: [32, 8] is too small for model.vision.patch_size 16" in message


RN50 = (
    "model.clip_pretrained=null",
    "model.vision={width: 64, layers: [3, 4, 6, 3], heads: 32, patch_size: null}",
)


def test_a_resnet_from_scratch():
    config = configure(*RN50, "model.last_stride=1")
    assert (config.model.vision.layers, config.model.vision.patch_size) == ((3, 4, 6, 3), None)
    message = refusal(*RN50, "model.stride=16")
    assert message == (
        "command line: model: stride is 16, but vision is a ResNet, which has no patches: leave it "
        "null"
    )
    assert "[30, 64] is too small for a ResNet, whose cells have 31 pixels" in refusal(
        *RN50, "data.image_size=[30, 64]"
    )
    assert configure(*RN50, "data.image_size=[30, 64]", "model.last_stride=1")
    assert configure("model.last_stride=1").model.last_stride == 1  # of weights not yet read
    assert "but the image tower is a ViT" in refusal(
        "--backbone", "altclip", "model.altclip_pretrained=x", "model.last_stride=1"
    )


def test_further_losses_are_switched_on_by_their_weights():
    weights = configure("--simplified", "experiment.losses.hinge=2").experiment.loss_weights()
    assert weights == {"nitc": 1.0, "ritc": 1.0, "hinge": 2.0}
    off = ("--simplified", "experiment.nitc=false", "experiment.ritc=false")
    config = configure(*off, "experiment.losses={hinge: 2}", "experiment.losses.centre=0.5")
    assert config.experiment.loss_weights() == {"hinge": 2.0, "centre": 0.5}
    assert "no loss is left to train" in refusal(*off, "experiment.losses.hinge=0")


def test_captions_are_cleaned_unless_the_recipe_says_otherwise():
    assert configure().experiment.clean_captions
    cskt = str(ROOT / "config/cskt.yaml")
    assert not configure("--config", cskt).experiment.clean_captions


def test_simplified_goes_with_text_alone():
    recipe = str(ROOT / "config" / "clipreid_vit.yaml")
    assert refusal("--config", recipe, "--simplified") == (
        "--simplified needs task text_to_image, but the recipe is for image_to_image: leave it out"
    )
