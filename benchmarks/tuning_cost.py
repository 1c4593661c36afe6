"""The cost of a training step of CLIP by way of tuning: the second table of docs/tuning.md.

python -m benchmarks.tuning_cost --device cpu --batch 4

All ways run one after another in one process, with random weights of full size (ViT-B/16 at 384 x
128 and CLIP's text tower) and the same batch.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from torch import Tensor

import options
from misc.optim import freeze
from misc.runtime.distributed import processes
from misc.runtime.precision import Precision
from misc.runtime.script import Parser, positive, run_script
from misc.tasks.base import optimizer_of
from misc.tasks.starting_weights import build_backbone
from misc.tasks.text.model import add_tuning, always_frozen, build_tbps_clip
from misc.tasks.text.task import build_criterion
from model.interface import TextBatch
from model.tbps_clip import NEW_PARAMETERS, NEW_WEIGHTS, TBPSCLIP

RECIPE = str(options.RECIPES / "cskt.yaml")
NONE = ("prompts.n_ctx=0", "adapters.towers=[]")
WAYS = {
    "full fine-tuning": NONE,
    "LoRA, rank 8, attention": (*NONE, "lora.rank=8"),
    "prompts": ("adapters.towers=[]",),
    "adapters": ("prompts.n_ctx=0",),
    "prompts and adapters (CSKT)": (),
    "adapters in the last 4 blocks": ("prompts.n_ctx=0", "adapters.blocks=[8, 9, 10, 11]"),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.tuning_cost", description="Cost of a step, by way of tuning."
    )
    add = parser.add_argument
    add("--batch", type=positive, default=4, metavar="N", help="pairs (default: 4)")
    add("--steps", type=positive, default=3, metavar="N", help="timed steps (default: 3)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings for all ways")
    return parser


def _run(asked: argparse.Namespace) -> None:
    with processes(asked.device) as own:
        costs = {name: measure(words, asked, own.device) for name, words in WAYS.items()}
    print(to_table(costs), end="")


def measure(
    words: tuple[str, ...], asked: argparse.Namespace, device: torch.device
) -> Mapping[str, float]:
    """Trained parameters and their share; by sample, bytes kept for the backward and seconds."""
    overrides = ("model.clip_pretrained=null", *words, *asked.overrides)
    config = options.parse(["--config", RECIPE, *overrides]).configure()
    torch.manual_seed(0)
    model = build_tbps_clip(config, build_backbone(config), num_identities=0)
    add_tuning(config, model.clip)
    freeze(model, always_frozen(config, model))
    model.to(device).train()
    optimizer = optimizer_of(model, config.schedule, NEW_PARAMETERS, NEW_WEIGHTS)
    criterion, precision = build_criterion(config), Precision(config.experiment.precision, device)
    batch = draw_batch(config, asked.batch).to(device)

    def forward() -> Tensor:
        with precision.autocast():
            outputs = model(batch)
        return criterion.total(criterion(outputs, batch), outputs)

    def step() -> None:
        forward().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "trained": trained,
        "share": trained / sum(parameter.numel() for parameter in model.parameters()),
        "kept": kept_bytes(model, forward) / asked.batch,
        "seconds": median(_time(step, device) for _ in range(asked.steps)) / asked.batch,
    }


def draw_batch(config: options.Config, size: int) -> TextBatch:
    """A batch of noise, with captions of 64 tokens."""
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 49000, (size, 64), generator=rng)
    tokens[:, -1] = 49407  # the end of the text
    rows, columns = config.data.image_size
    images = torch.randn(1, size, 3, rows, columns, generator=rng)
    return TextBatch(images, tokens, torch.arange(size))


def kept_bytes(model: TBPSCLIP, forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward keeps for the backward, in addition to the parameters."""
    known = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    sizes: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def give(tensor: Tensor) -> Tensor:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, give):
        loss = forward()
    del loss
    return sum(sizes.values())


def _time(step: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def to_table(costs: Mapping[str, Mapping[str, float]]) -> str:
    """A markdown table; in brackets the share of full fine-tuning's."""
    whole = next(iter(costs.values()))
    lines = [
        "| | trained parameters | saved for backward, per pair | seconds per pair |",
        "|---|---:|---:|---:|",
    ]
    for name, cost in costs.items():
        kept, seconds = cost["kept"], cost["seconds"]
        lines.append(
            f"| {name} | {cost['trained']:,.0f} ({100 * cost['share']:.2f} %) "
            f"| {kept / 2**20:.0f} MiB ({kept / whole['kept']:.2f}) "
            f"| {seconds:.2f} ({seconds / whole['seconds']:.2f}) |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
