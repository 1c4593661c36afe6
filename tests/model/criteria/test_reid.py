"""The losses of CLIP-ReID's stages: the published sums, and two processes as one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from errors import InputError
from misc.runtime.distributed import AllGather, Processes, processes
from model.criteria.reid import LOSSES, ReIDCriterion, ReIDLossSettings
from model.gather import Alone
from model.interface import PromptBatch, PromptOutputs, ReIDBatch, ReIDOutputs
from model.objectives import identity
from tests import GOLDEN_FILES
from tests.ranks import run_ranks

GOLDEN = np.load(GOLDEN_FILES / "clipreid_losses.npz")
OUTPUTS = {  # ours: the published name
    "penultimate_features": "feat2",
    "image_features": "feat",
    "projected_features": "feat3",
    "image_logits": "score",
    "projected_logits": "score_proj",
    "text_logits": "i2t",
}
GRADIENTS = dict(zip(OUTPUTS, ("f2", "f", "f3", "s1", "s2", "i2t"), strict=True))


def second_stage(case: str) -> tuple[ReIDOutputs, ReIDBatch]:
    tensors = {
        ours: torch.tensor(GOLDEN[f"{case}/{theirs}"], requires_grad=True)
        for ours, theirs in OUTPUTS.items()
    }
    ids = torch.tensor(GOLDEN[f"{case}/labels"])
    pictures, zeros = torch.zeros(len(ids), 3, 4, 2), torch.zeros_like(ids)
    return ReIDOutputs(**tensors), ReIDBatch(pictures, ids, zeros, zeros)


@pytest.mark.parametrize("case", ["c0", "c1"])
@pytest.mark.parametrize(
    ("name", "weights", "settings"),
    [
        ("stage2_vit", {"id": 0.25, "triplet": 1.0, "i2t": 1.0}, ReIDLossSettings()),
        ("stage2_vit_noi2t", {"id": 0.25, "triplet": 1.0}, ReIDLossSettings()),
        ("stage2_cnn", {"id": 1.0, "triplet": 1.0, "i2t": 1.0}, ReIDLossSettings()),
        (
            "stage2_vit_nols",
            {"id": 0.25, "triplet": 1.0, "i2t": 1.0},
            ReIDLossSettings(smoothing=0.0),
        ),
        (
            "stage2_vit_soft",
            {"id": 0.25, "triplet": 1.0, "i2t": 1.0},
            ReIDLossSettings(margin=None),
        ),
    ],
)
def test_second_stage_is_the_published_one(case, name, weights, settings):
    outputs, batch = second_stage(case)
    criterion = ReIDCriterion(weights, settings)
    total = criterion.total(criterion(outputs, batch), outputs)
    assert total.item() == pytest.approx(float(GOLDEN[f"{case}/{name}_loss"]), rel=2e-6)
    total.backward()
    for ours, tensor in outputs.present().items():
        key = f"{case}/{name}_grad_{GRADIENTS[ours]}"
        expected = GOLDEN[key] if key in GOLDEN.files else 0 * tensor.detach().double().numpy()
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-4, atol=1e-6, err_msg=ours)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_first_stage_is_the_published_one(case):
    text = torch.tensor(GOLDEN[f"{case}/text"], requires_grad=True)
    outputs = PromptOutputs(torch.tensor(GOLDEN[f"{case}/feat"]), text)
    batch = PromptBatch(outputs.image_features, torch.tensor(GOLDEN[f"{case}/labels"]))
    criterion = ReIDCriterion({"sup_con": 1.0})
    total = criterion.total(criterion(outputs, batch), outputs)
    assert total.item() == pytest.approx(float(GOLDEN[f"{case}/stage1_total_loss"]), rel=2e-6)
    total.backward()
    expected = GOLDEN[f"{case}/stage1_total_grad_txt"]
    np.testing.assert_allclose(text.grad, expected, rtol=1e-4, atol=1e-6)


def test_only_named_losses_are_computed():
    outputs, batch = second_stage("c0")
    losses = ReIDCriterion({"i2t": 1.0})(outputs, batch)
    expected = identity(outputs.text_logits, batch.ids, smoothing=0.1)
    torch.testing.assert_close(losses, {"i2t": expected})
    with pytest.raises(InputError, match=r"no loss 'triplets' .*did you mean triplet\?"):
        ReIDCriterion({"triplets": 1.0})


def test_a_baseline_has_no_text_to_be_compared_with():
    outputs, batch = second_stage("c0")
    without = ReIDOutputs(**{**outputs.present(), "text_logits": None})
    assert ReIDCriterion({"id": 1.0, "triplet": 1.0})(without, batch).keys() == {"id", "triplet"}
    with pytest.raises(AssertionError, match="not fixed"):
        ReIDCriterion({"i2t": 1.0})(without, batch)
    with pytest.raises(AssertionError, match="first stage"):
        ReIDCriterion({"sup_con": 1.0})(without, batch)


def losses_and_gradients(own: Processes) -> dict[str, tuple[Tensor, Tensor]]:
    """Each loss of this process's rows, and its gradients to a weight that the processes share, as
    DDP has them: means over the processes.
    """
    gather = AllGather() if own.world_size > 1 else Alone()
    rng = torch.Generator().manual_seed(0)
    rows = slice(own.rank * 6 // own.world_size, (own.rank + 1) * 6 // own.world_size)
    weight = torch.eye(5).requires_grad_()

    def features() -> Tensor:
        return 2 * torch.randn(6, 5, generator=rng)[rows] @ weight

    ids = torch.tensor([0, 1, 2, 0, 2, 3])[rows]  # who is alone in a process is not so in both
    prompts = PromptOutputs(features(), features())
    pictures = ReIDOutputs(*(features() for _ in range(6)))
    results = {}
    for name in LOSSES:
        outputs = prompts if name == "sup_con" else pictures
        batch = PromptBatch(prompts.image_features.detach(), ids)
        loss = ReIDCriterion({name: 1.0})(outputs, batch, gather)[name]
        (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
        results[name] = own.mean(loss.detach()), own.mean(gradient)
    return results


def test_two_processes_are_one(tmp_path):
    with processes("cpu") as own:
        alone = losses_and_gradients(own)
    for results in run_ranks(losses_and_gradients, 2, tmp_path):
        for name, expected in alone.items():
            torch.testing.assert_close(results[name], expected, rtol=1e-5, atol=1e-6, msg=name)
