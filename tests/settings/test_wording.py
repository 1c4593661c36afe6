"""The sentence that answers each mistake."""

import pytest

from tests.command_line import refusal


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("data.batchsize", "data.batch_size"),
        ("schedule.batch_size", "data.batch_size"),
        ("batch_size", "data.batch_size"),
        ("model.vision.widht", "model.vision.width"),
        ("shedule.lr", "schedule.lr"),
        ("lr", "schedule.lr"),
        ("vision.width", "model.vision.width"),
        ("experiment.lr", "schedule.lr"),
    ],
)
def test_unknown_key_names_the_nearest(given, nearest):
    message = refusal(f"{given}=4")
    assert message.startswith("command line: there is no key ")
    assert message.endswith(f", did you mean {nearest}?")


def test_unknown_key_names_its_file(write, default):
    wrong = write("wrong.yaml", default + "data: {batchsize: 4}")
    over = write("over.yaml", f"base: {wrong}\nmisc: {{seed: 3}}")
    assert refusal("--config", over) == (
        f"{wrong}: there is no key data.batchsize, did you mean data.batch_size?"
    )


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("lora.targets=[]", "lora.targets is [], expected 1 or more values"),
        (
            "lora.targets=[atention]",
            """lora.targets[0] is "atention", expected 'attention' or 'mlp'""",
        ),
        ("data.batch_size='4'", 'data.batch_size is "4", expected a whole number'),
        ("data.batch_size=true", "data.batch_size is true, expected a whole number"),
        ("data.batch_size=4.0", "data.batch_size is 4.0, expected a whole number"),
        ("data.batch_size=0", "data.batch_size is 0, expected at least 1"),
        ("data=4", "data is 4, expected a section of keys"),
        ("data=", "data is null, expected a section of keys"),
        ("data.image_root=12", "data.image_root is 12, expected text (a number is text in quotes)"),
        ("data.image_root=''", 'data.image_root is "", expected text that is not empty'),
        ("data.image_size=[1]", "data.image_size[1] is missing"),
        ("data.image_size=[1, 2, 3]", "data.image_size is [1, 2, 3], expected at most 2 values"),
        ("data.image_size=true", "data.image_size is true, expected a list in [ ]"),
        ("experiment.nitc=no", 'experiment.nitc is "no", expected true or false'),
        ("experiment.nitc=1", "experiment.nitc is 1, expected true or false"),
        ("experiment.dropout=1", "experiment.dropout is 1, expected below 1"),
        ("experiment.eda_alpha=1.5", "experiment.eda_alpha is 1.5, expected at most 1"),
        ("experiment.text_length=513", "experiment.text_length is 513, expected at most 512"),
        ("experiment.text_length=2", "experiment.text_length is 2, expected at least 3"),
        ("experiment.itc=null", "experiment.itc is null, expected true or false"),
        ("schedule.lr=true", "schedule.lr is true, expected a number"),
        ("schedule.lr=0", "schedule.lr is 0, expected above 0"),
        ("schedule.lr=.nan", "schedule.lr is NaN, expected a finite number"),
        ("schedule.lr=1e400", "schedule.lr is Infinity, expected a finite number"),
        ("schedule.clip_grad=-1", "schedule.clip_grad is -1, expected above 0"),
        ("schedule.betas=0.9", "schedule.betas is 0.9, expected a list in [ ]"),
        ("schedule.epoch_warmup=9", "schedule: epoch_warmup 9 is more than epoch 5"),
        ("schedule.epoch=0", "schedule.epoch is 0, expected at least 1"),
        ("model.freeze=conv1", 'model.freeze is "conv1", expected a list in [ ]'),
        ("model.vision.heads=7", "model.vision: width 768 cannot be divided among 7 heads"),
        ("model.vision.layers=0", "model.vision.layers: 0 is neither a ViT's number of blocks"),
        ("model.vision.layers=[3, 4]", "[3, 4] is neither a ViT's number of blocks nor a list"),
        ("model.vision.layers=[3, 4, 6, true]", "[3, 4, 6, true] is neither a ViT's number"),
        ("model.vision.layers=[3, 4, 6, 3]", "layers [3, 4, 6, 3] and patch_size 16 do not go"),
        ("model.vision.patch_size=null", "layers 12 and patch_size null do not go together"),
        (
            "model.vision={width: 6, layers: [1, 1, 1, 1], heads: 5, patch_size: null}",
            "model.vision: width 192 cannot be divided among 5 heads",
        ),
        ("model.last_stride=3", "model.last_stride is 3, expected 1 or 2"),
        (
            "model={clip_pretrained: null, last_stride: 1}",
            "model: last_stride is 1, but the image tower is a ViT",
        ),
        ("model.backbone=xyz", "model.backbone: unknown backbone 'xyz': choose one of clip"),
        ("model.backbone=alt", "model.backbone: unknown backbone 'alt': did you mean altclip?"),
        ("model.backbone=[clip]", 'model.backbone is ["clip"], expected text'),
        ("model.tokenizer_type=altclip", "model: tokenizer_type is altclip, but backbone is clip"),
        ("experiment.losses=3", "experiment.losses is 3, expected a section of keys"),
        ("experiment.losses.tal=-1", "experiment.losses.tal is -1, expected at least 0"),
        ("experiment.losses={itc: 1}", "experiment.losses: itc has a switch of its own: set exper"),
        ("evaluation.rerank.k1=9", "evaluation.rerank.k2 and evaluation.rerank.weight are missing"),
        ("distributed.backend=mpi", "is \"mpi\", expected 'auto', 'nccl' or 'gloo'"),
        ("misc.seed=-1", "misc.seed is -1, expected at least 0"),
        ("stages=[]", "stages: no stage is left to train, add one"),
        ("stages=[{}]", "stages[0].name is missing"),
        ("stages=[{name: a}, {name: a}]", "stages: two stages have the same name"),
        ("stages=[{name: a, schedule: {lr: no}}]", 'stages[0].schedule.lr is "no", expected'),
        ("stages=[{name: a, schedule: {lrr: 1}}]", "did you mean stages.schedule.lr?"),
        ("stages=[{name: a, freez: []}]", "did you mean stages.freeze?"),
        ("stages=[{name: a, schedule: {epoch_warmup: 6}}]", "stages[0].schedule: epoch_warmup 6"),
    ],
)
def test_wrong_value_names_place_key_value_and_expectation(setting, complaint):
    message = refusal(setting)
    assert message.startswith("command line: ")
    assert complaint in message
    assert "pydantic" not in message
    assert "\n" not in message


def test_all_mistakes_are_told_at_once_each_with_its_place(write, default):
    path = write("wrong.yaml", default + "data: {batch_size: four, num_workers: -1}")
    assert refusal("--config", path, "data.num_workers=2.5", "log.period=1").splitlines() == [
        "command line: there is no key log.period, did you mean evaluation.period?",
        f'{path}: data.batch_size is "four", expected a whole number',
        "command line: data.num_workers is 2.5, expected a whole number",
    ]


MISPLACED = [
    ("data=5", "data is 5, expected a section of keys"),
    ("data.batch_size.x=1", "data.batch_size.x: data.batch_size takes a value and has no keys"),
    ("data.image_size={x: 1, y: 2}", "data.image_size takes a value and has no keys"),
    (
        "experiment.model.embed_dim=256",
        "there is no key experiment.model.embed_dim: model is a section of its own, write "
        "model.embed_dim",
    ),
    (
        "schedule={data: {batch_size: 3}}",
        "there is no key schedule.data.batch_size: data is a section of its own, write "
        "data.batch_size",
    ),
    (
        "schedule.data={batch_size: 3, image_root: here}",
        "there is no section schedule.data: data is a section of its own, move it out of schedule",
    ),
    ("stages.train.data.batch_size=3", "there is no key stages[0].data.batch_size: data is a sec"),
    ("stages.train.schedule=3", "stages[0].schedule is 3, expected a section of keys"),
    ("stages.train.schedule.lr.x=3", "stages[0].schedule.lr takes a value and has no keys"),
    ("model.prompts.nctx=4", "prompts is a section of its own, write prompts.n_ctx"),
    ("model.vision=3", "model.vision is 3, expected a section of keys"),
    ("evaluation.rerank=20", "evaluation.rerank is 20, expected a section of keys"),
]


@pytest.mark.parametrize(("setting", "cause"), MISPLACED)
def test_a_misplaced_key_is_one_sentence_whatever_follows_from_it(setting, cause):
    for words in ((setting,), (setting, "data.batch_size=3"), ("schedule.epoch_warmup=9", setting)):
        message = refusal(*words)
        assert message.startswith("command line: ")
        assert cause in message
        assert "\n" not in message


def test_a_key_with_dots_in_a_recipe_is_told_to_nest(write, default):
    path = write("dots.yaml", default + "model.vision.width: 3")
    assert refusal("--config", path) == (
        f"{path}: model.vision.width is one word with dots, nest it in the file: "
        "model: {vision: {width: ...}}"
    )


def test_a_list_that_is_replaced_is_blamed_on_the_layer_that_replaces_it(write, default):
    path = write("one.yaml", default + "stages: [{name: a, freeze: [text]}]")
    message = refusal("--config", path, "stages=[{name: b, freeze: 3}]")
    assert message == "command line: stages[0].freeze is 3, expected a list in [ ]"


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("data.num_workers=5000", "data.num_workers is 5000, expected at most 256"),
        (
            "data.image_size=[1000000, 1000000]",
            "data.image_size[0] is 1000000, expected at most 4096",
        ),
        ("data.batch_size=0", "data.batch_size is 0, expected at least 1"),
        ("data.batch_size=10000000", "data.batch_size is 10000000, expected at most 1048576"),
        ("schedule.lr=1e400", "schedule.lr is Infinity, expected a finite number"),
        ("model.vision.layers=100000", "model.vision.layers: 100000 is neither a ViT's number"),
        ("lora.rank=100000", "lora.rank is 100000, expected at most 16384"),
        ("model.backbone=resnet", "unknown backbone 'resnet': choose one of clip, altclip"),
        ("experiment.image_augment=zzz", "unknown name 'zzz'; choose one of "),
        ("zzz=1", "there is no key zzz: a recipe has task, data, model, prompts, "),
        ("data.zzz=1", "there is no key data.zzz: data has annotation_file, image_root, "),
        ("a..b=1", "there is no key a..b"),
        (".=1", "there is no key ."),
        ("a" * 10**6 + "=1", "command line: there is no key aaaa"),
        ("a." * 10**5 + "=1", "command line: there is no key a.a."),
        ("tuning." + "a." * 10**4 + "=1", "command line: there is no key tuning.a."),
        ("data.image_root=[" + "x" * 5000 + "]", "expected text"),
        ("--" + "x" * 10**5, "unrecognized arguments"),
    ],
)
def test_what_is_absurd_is_told_briefly(setting, complaint):
    message = refusal(setting)
    assert complaint in message
    assert len(message) < 1000


def test_rank_beyond_the_width():
    message = refusal("model.clip_pretrained=null", "lora.rank=600")
    assert "lora.rank: 600 is more than the width of the text tower, 512" in message
