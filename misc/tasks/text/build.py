"""The parts of a text-to-image model, from a configuration."""

from errors import InputError
from misc.settings.sections import Config
from misc.tasks.starting_weights import build_tokenizer
from model.architecture import TextArchitecture
from model.backbones import find_kind
from model.clip import DualEncoder
from model.criteria.text import TextCriterion, TextLossSettings
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead
from model.tbps_clip import TBPSCLIP
from model.tuning.description import AdapterTuning, LoraTuning, PromptTuning, Tuning
from model.tuning.prompts import start_from_words
from model.tuning.tune import describe_tuning, frozen_names, tune
from model.tuning.ways import build_way


def without_masked_words(config: Config) -> tuple[Config, str]:
    """The configuration without masked-word prediction where the backbone's vocabulary is not
    CLIP's, and a sentence that says so, or none.

    Raises:
        InputError: no loss is left.
    """
    backbone = config.model.backbone
    if find_kind(backbone).masks_words or not config.experiment.mlm:
        return config, ""
    experiment = config.experiment.model_copy(update={"mlm": False})
    if not any(experiment.loss_weights().values()):
        raise InputError(
            f"experiment.mlm is the only loss, and model.backbone {backbone} cannot train it: set "
            "nitc, ritc or another one to true"
        )
    return (
        config.model_copy(update={"experiment": experiment}),
        "experiment.mlm is switched off: it predicts words of CLIP's vocabulary, and "
        f"model.backbone {backbone} has another",
    )


def build_tbps_clip(config: Config, clip: DualEncoder, num_identities: int) -> TBPSCLIP:
    """A backbone with the heads that the losses need.

    Args:
        num_identities: of the classifier.
    """
    experiment, width = config.experiment, clip.embed_dim
    simclr_mlp = classifier = mlm_decoder = None
    if experiment.ss:
        simclr_mlp = ProjectionHead(*experiment.simclr_mlp)
    if experiment.id:
        classifier = Classifier(width, num_identities)
    if experiment.mlm:
        vocab_size = clip.text.shape.vocab_size
        heads = max(1, width // 64)
        mlm_decoder = MaskedLanguageDecoder(width, experiment.cmt_depth, heads, vocab_size)
    return TBPSCLIP(
        clip,
        simclr_mlp=simclr_mlp,
        classifier=classifier,
        mlm_decoder=mlm_decoder,
        fresh_soft_pass=experiment.soft_pass == "fresh",
    )


def tuning_of(config: Config) -> Tuning:
    """The prompts, adapters, LoRA and registered ways that the configuration asks for."""
    prompts, adapters, lora = config.prompts, config.adapters, config.lora
    scales = {"image": adapters.scale.image, "text": adapters.scale.text}
    by_tower = {
        tower: AdapterTuning(adapters.reduction, scales[tower], adapters.blocks)
        for tower in adapters.towers
    }
    return Tuning(
        prompts=PromptTuning(prompts.n_ctx, prompts.depth, prompts.direction)
        if prompts.n_ctx
        else None,
        image_adapters=by_tower.get("image"),
        text_adapters=by_tower.get("text"),
        lora=LoraTuning(lora.rank, lora.alpha, lora.dropout, lora.targets, lora.towers)
        if lora.rank
        else None,
        further={name: build_way(name, settings) for name, settings in config.tuning.items()},
    )


def add_tuning(config: Config, clip: DualEncoder) -> None:
    """Add the prompts, adapters and LoRA that the configuration asks for.

    Raises:
        InputError: the backbone has no place for them.
    """
    tune(clip, tuning_of(config))
    if config.prompts.n_ctx and config.prompts.init == "words":
        start_from_words(clip, build_tokenizer(config), config.prompts.words)


def always_frozen(config: Config, model: TBPSCLIP) -> tuple[str, ...]:
    """Names of the parameters that do not train whatever `model.freeze` says: those of a tuned
    backbone but for what was added, and a temperature that is given.
    """
    learns_scale = config.model.temperature is None
    if config.tunes:
        return frozen_names(model, learns_scale=learns_scale)
    return () if learns_scale else ("clip.logit_scale",)


def describe(config: Config, model: TBPSCLIP) -> TextArchitecture:
    """The architecture of a model."""
    clip = model.clip
    return TextArchitecture(
        backbone=config.model.backbone,
        vision=clip.visual.shape,
        text=clip.text.shape,
        embed_dim=clip.embed_dim,
        activation=clip.activation,
        num_identities=0 if model.classifier is None else model.classifier.out_features,
        tuning=describe_tuning(clip),
    )


def build_criterion(config: Config) -> TextCriterion:
    """The losses that are switched on, with their weights."""
    experiment = config.experiment
    settings = TextLossSettings(
        softlabel_ratio=config.model.softlabel_ratio,
        ritc_eps=experiment.ritc_eps,
        citc_inmodal=experiment.citc_lambda1,
        citc_crossmodal=experiment.citc_lambda2,
        simclr_temperature=experiment.simclr_temperature,
    )
    return TextCriterion(experiment.loss_weights(), settings)
