"""A batch in parts takes the step of the batch in one, in every number format, where it may."""

import pytest
import torch
from torch import Tensor

import options
from errors import InputError
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.tasks.text.model import new_model
from misc.tasks.text.task import TextTask
from misc.training.trainer import Stage, Trainer, TrainingSettings, check_chunk
from model.gather import Alone
from model.interface import TextBatch, TextOutputs
from model.resnet import ModifiedResNet, ResNetShape
from model.tbps_clip import TBPSCLIP
from tests.command_line import parse
from tests.conftest import SMALL

Training = tuple[Stage, TBPSCLIP, TextBatch]

ALONE = Processes(0, 1, torch.device("cpu"))
FULL = "experiment={mvs_image: true, citc: true, ss: true, dropout: 0.3}"
SETTINGS = {
    "full": (),
    "soft labels of their own pass": ("experiment.soft_pass=fresh",),
    "gradient checkpointing": ("model.gradient_checkpointing=true",),
    "frozen image tower": ("model.freeze=[visual]",),
    "frozen text tower": ("model.freeze=[text]",),
    "frozen towers": ("model.freeze=[visual, text]", "experiment.ss=false"),
    "id and mlm": ("experiment={id: true, mlm: true, cmt_depth: 1}",),
}
PART = 3  # of 8 captions, so that the last part is smaller
STEP = 3  # within the first epoch: the soft labels have some weight, but not all


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def training(request, places) -> Training:
    recipe = ["--config", str(options.RECIPES / "demo.yaml"), *SMALL, *places]
    config = parse([*recipe, FULL, *request.param]).configure()
    seed_torch(1, Purpose.INITIALISATION)
    task = TextTask(config, ALONE, Precision("fp32", ALONE.device))
    model = new_model(config, None, num_identities=task.data.num_identities)
    (stage,) = task.build_stages(model)
    return stage, model, next(iter(stage.loader))


def make_trainer(training: Training, precision: str, chunk: int) -> Trainer:
    """Its scaler begins where nothing overflows, which in fp16 the usual 2^16 does here."""
    stage, model, _ = training
    own = Precision(precision, ALONE.device)
    trainer = Trainer(stage, model, ALONE, own, gather=Alone(), settings=TrainingSettings(1, chunk))
    if precision == "fp16":
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    return trainer


def take_gradients(trainer: Trainer) -> dict[str, Tensor]:
    """The gradients of what trains, unscaled; the next backward finds none."""
    named = dict(trainer.model.named_parameters())
    assert all(
        parameter.grad is None for parameter in named.values() if not parameter.requires_grad
    )
    scale = trainer.scaler.get_scale()
    gradients = {name: p.grad / scale for name, p in named.items() if p.requires_grad}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    trainer.model.zero_grad()
    return gradients


FORMATS = pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])


@FORMATS
def test_parts_have_the_gradients_of_one_graph_over_them(training, precision):
    """Dropout and rounding are the same there: only the order of three sums is another."""
    trainer, batch = make_trainer(training, precision, PART), training[2]
    losses = trainer.backward(batch, STEP)
    gradients = take_gradients(trainer)
    chunks = batch.split(PART)
    encoded = []
    for index, chunk in enumerate(chunks):
        trainer._seed(STEP, index, len(chunks))
        encoded.append(trainer._encode(trainer.parted, chunk))
    progress = STEP / len(trainer.stage.loader)
    expected, total = trainer._losses(TextOutputs.join(encoded), batch, progress)
    trainer.scaler.scale(total).backward()
    assert losses == {"loss": total, **expected}
    for name, gradient in take_gradients(trainer).items():
        close = 1e-6 * gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=close, msg=name)


@FORMATS
def test_parts_are_as_exact_as_the_whole(training, precision):
    """Without dropout: the losses of the whole; gradients no farther than twice its from fp32's.

    What a number format rounds, it rounds once more in the sum over each part.
    """
    _, model, batch = training
    model.clip.text.eval()
    runs = []
    for name, chunk in (("fp32", len(batch)), (precision, len(batch)), (precision, PART)):
        trainer = make_trainer(training, name, chunk)
        losses = trainer.backward(batch, STEP)
        runs.append((losses, take_gradients(trainer)))
    model.train()
    (_, exact), (whole_losses, whole), (losses, parts) = runs
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(whole_losses[name].item(), rel=1e-6), name
    for name, gradient in exact.items():
        allowed = 2 * (whole[name] - gradient).norm() + 1e-5 * gradient.norm().clamp(min=1)
        assert (parts[name] - gradient).norm() <= allowed, name


@pytest.mark.parametrize("training", [SETTINGS["full"]], indirect=True)
def test_a_step_in_parts_that_overflows_is_left_out(training):
    trainer, batch = make_trainer(training, "fp16", PART), training[2]
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    trainer.step(batch, STEP)
    assert trainer.scaler.get_scale() == 2.0**39
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("training", [SETTINGS["full"]], indirect=True)
def test_a_model_with_batch_norms_encodes_no_parts(training):
    """Their statistics would be of the parts."""
    stage, model, batch = training
    tower = model.clip.visual
    model.clip.visual = ModifiedResNet(ResNetShape(8, (1, 1, 1, 1), 4, (32, 16), 1), 16)
    with pytest.raises(
        InputError, match=r"stage train has 8 samples .* parts of data\.batch_size=3, .*: raise"
    ):
        check_chunk(stage, model, PART)
    check_chunk(stage, model, len(batch))
    model.clip.visual = tower
