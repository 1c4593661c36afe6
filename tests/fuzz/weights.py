"""Hostile weights of every format: files and folders that lie, are damaged, or carry code."""

import json
import os
import pickle
import shutil
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from misc.runtime.checkpoint import open_checkpoint
from misc.search.opening import open_model
from misc.tasks.text.model import restored_model
from model.backbones import load_backbone
from model.trees import Tree
from model.weights import load_clip
from model.weights.published.format import Geometry
from tests.fuzz import _weights as sound

COUNT, SAMPLE = 600, 40
MARKER = Path(tempfile.gettempdir()) / f"fuzz-marker-{os.getpid()}"  # of an archive made once


def case(random: Random, folder: Path) -> None:
    """One hostile source, read as a user would; no payload runs, and nothing is written."""
    marker = folder / "marker"
    read = random.choice(KINDS)(random, folder, marker)
    before = sorted(folder.rglob("*"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    finally:
        assert not marker.exists(), "the payload ran"
        assert not MARKER.exists(), "the payload ran"
        assert sorted(folder.rglob("*")) == before, "files were written"


Read = Callable[[], object]
ODD: tuple[object, ...] = (
    *(None, True, -1, 0, 1, 3, 1.5, 10**9, 10**30, float("nan"), float("inf"), "", "x", "../x"),
    *([], [1], [[]], {}, {"a": 1}, "x" * 300, "\0", "/etc/passwd", [None], ["x"], {"": {}}),
)


def odd(random: Random, tree: Any) -> Any:
    """A JSON tree with one value replaced or removed."""
    if not isinstance(tree, dict) or not tree or random.random() < 0.15:
        return random.choice(ODD)
    name = random.choice(sorted(tree, key=str))
    if random.random() < 0.15:
        return {key: value for key, value in tree.items() if key != name}
    return {**tree, name: odd(random, tree[name])}


def odd_tensor(random: Random, tensor: Tensor) -> object:
    """A tensor of another size, type or value, or none."""
    return random.choice(
        [
            lambda: tensor.reshape(-1),
            lambda: tensor[None],
            lambda: tensor.flatten()[:0],
            lambda: tensor[:0] if tensor.ndim else tensor,
            lambda: tensor[:1] if tensor.ndim else tensor,
            lambda: torch.tensor(1.0),
            lambda: tensor.to(random.choice([torch.int64, torch.bool, torch.complex64])),
            lambda: tensor.to(random.choice([torch.half, torch.float64, torch.float8_e4m3fn])),
            lambda: tensor * float(random.choice(["nan", "inf"])),
            lambda: torch.zeros(1).expand(10**5, 10**5),
            lambda: tensor.to_sparse(),
            lambda: torch.empty(10**5, 10**5, device="meta"),
            lambda: nn.Parameter(tensor.float()),
            lambda: random.choice(ODD),
        ]
    )()


def odd_state(random: Random, state: dict[str, Tensor]) -> dict[Any, Any]:
    """A state dict with a few odd tensors or names."""
    changed: dict[Any, Any] = dict(state)
    for _ in range(random.choice([1, 1, 3])):
        name = random.choice(sorted(state))
        if random.random() < 0.2:
            changed.pop(name, None)
        elif random.random() < 0.2:
            changed[random.choice([7, b"x", "", "x" * 10**4, f"{name}.more"])] = state[name]
        else:
            changed[name] = odd_tensor(random, state[name])
    return changed


class Payload:
    """Code that a pickle runs when it is read by one that runs it."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def payload(random: Random, marker: Path) -> Payload:
    code = f"open({str(marker)!r}, 'w').close()"
    return random.choice(
        [
            Payload(os.system, f"touch {marker}"),
            Payload(eval, code),
            Payload(exec, code),
            Payload(open, str(marker), "w"),
            Payload(Path.touch, marker),
            Payload(shutil.copy, __file__, str(marker)),
            Payload(torch.save, torch.ones(1), str(marker)),
        ]
    )


def readers(random: Random, file: Path) -> Read:
    """One of the ways to read a file of weights."""
    prefix = "open_clip:ViT-B-32/" if random.random() < 0.1 else ""
    return random.choice(
        [
            lambda: use(load_clip(f"{prefix}{file}")),
            lambda: use(load_clip(str(file), 16, context_length=None)),
            lambda: load_backbone(file),
            lambda: open_checkpoint(file, geometry=lambda _: Geometry((32, 16)), any_size=True),
            lambda: open_model(file),
        ]
    )


@torch.no_grad()
def use(clip: nn.Module) -> None:
    """A result is right only if it can be used."""
    rows, columns = clip.visual.shape.image_size
    assert clip.eval().encode_image(torch.zeros(1, 3, rows, columns)).ndim == 2
    assert all(parameter.isfinite().all() for parameter in clip.parameters())


def pickles(random: Random, folder: Path, marker: Path) -> Read:
    """Payloads in pickles of all ages, alone and among weights."""
    file = folder / random.choice(["x.pt", "x.pth", "x.bin", "x.safetensors", "pytorch_model"])
    bomb = payload(random, marker)
    content = random.choice([bomb, {"model": bomb}, {**sound.openai_state(), "x": bomb}, [bomb]])
    if random.random() < 0.3:
        file.write_bytes(pickle.dumps(bomb, protocol=random.randrange(6)))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=random.random() < 0.7)
    return readers(random, file)


class Scripted(nn.Module):
    """A TorchScript module that writes a file while it is loaded."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(2))
        self.marker = marker

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return self.weight, self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        self.weight = state[0]
        self.marker = state[1]
        self.training = state[2]
        torch.save(state[0], state[1])


@cache
def scripted() -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Scripted(str(MARKER))).save(f"{folder}/x.pt")
        return Path(f"{folder}/x.pt").read_bytes()


def archives(random: Random, folder: Path, marker: Path) -> Read:
    """TorchScript archives: with code, with other pickles, cut or compressed."""
    file, whole = folder / "clip.pt", folder / "whole.pt"
    kind = random.randrange(4)
    whole.write_bytes(scripted() if kind == 0 else sound.archive())
    if kind == 0:
        return readers(random, whole.rename(file))
    commands = [
        pickle.dumps(payload(random, marker), protocol=2),
        b"\x80\x02" + b"r\xff\xff\xff\xffN.",
        b"\x80\x02" + b"Nr\xff\xff\xff\x7f.",
        b"\x80\x04\x96" + b"\xff" * 8 + b".",
        b"(" * 10**5,
        b"",
    ]
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl") and kind == 1:
                content = random.choice(commands)
            elif random.random() < 0.02:
                content = content[: random.randrange(len(content) + 1)]
            new.writestr(name, content, zipfile.ZIP_DEFLATED if kind == 3 else None)
    whole.unlink()
    return readers(random, file)


def damaged(random: Random, folder: Path, marker: Path) -> Read:
    """Files cut short, with changed bytes, or with others in front."""
    file = folder / random.choice(["x.pt", "x.safetensors"])
    source = random.choice(["archive", "state", "legacy", "own"])
    if file.suffix == ".safetensors":
        save_file(sound.openai_state(), file)
    elif source == "archive":
        file.write_bytes(sound.archive())
    else:
        content: object = sound.openai_state() if source != "own" else sound.small_content()
        torch.save(content, file, _use_new_zipfile_serialization=source != "legacy")
    content = bytearray(file.read_bytes())
    for _ in range(random.choice([0, 1, 10, 1000])):
        end = random.choice([100, 5000, len(content)])
        place = random.choice([random.randrange(end), -random.randrange(1, end)])
        content[place] = random.randrange(256)
    if random.random() < 0.4:
        del content[random.choice([0, 1, 7, 8, 100, random.randrange(len(content))]) :]
    front = random.choice(
        [b""] * 5 + [b"PK\3\4", b"\x80\x02", b"version https://git-lfs", b"<html"]
    )
    file.write_bytes(front + content)
    return readers(random, file)


def safetensors(random: Random, folder: Path, marker: Path) -> Read:
    """Absurd headers."""
    file = folder / "x.safetensors"
    entry: Tree = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    entry |= random.choice(
        [
            {"shape": [2**40, 2**40]},
            {"shape": [-1]},
            {"shape": []},
            {"shape": [0] * 1000},
            {"data_offsets": [0, 2**62]},
            {"data_offsets": [16, 0]},
            {"dtype": random.choice(["F8_E4M3", "X", "", "BOOL"])},
            {random.choice(["dtype", "shape", "data_offsets"]): random.choice(ODD)},
        ]
    )
    names = random.choice([["visual.conv1.weight"], ["a"] * 2, ["__metadata__"], sorted("abc")])
    header = json.dumps(dict.fromkeys(names, entry)).encode()
    header = random.choice([header, header * 2, b"[" * 10**5, b"{" * 10**4, b"\xff" * 8, header])
    length = random.choice([len(header)] * 3 + [0, 1, 2**31, 2**63, 2**64 - 1])
    file.write_bytes(struct.pack("<Q", length) + header + bytes(16))
    return readers(random, file)


def states(random: Random, folder: Path, marker: Path) -> Read:
    """State dicts of all projects with odd tensors."""
    state = random.choice([sound.openai_state, sound.irra_state, sound.tbps_state])()
    changed, file = odd_state(random, state), folder / "x.pt"
    wrapped = {"model": changed, "state_dict": random.choice(ODD)}
    torch.save(random.choice([changed, {"model": changed}, wrapped, [changed]]), file)
    return readers(random, file)


def own(random: Random, folder: Path, marker: Path) -> Read:
    """Checkpoints of this project with odd parts, without a checksum."""
    content, file = dict(sound.small_content()), folder / "checkpoint_last.pt"
    part = random.choice([*content, "model", "architecture", "config", "position", "frozen"])
    if part == "model":
        content[part] = odd_state(random, content[part])
    elif part == "position":
        position = {"epoch": 1, "step": 1, "best": 0.5, "best_epoch": 1}
        states: Tree = {"position": position, "optimizer": {}, "scaler": {}}
        name = random.choice(sorted(states))
        content |= states | {name: odd(random, states[name])}
    else:
        content[part] = odd(random, content.get(part))
    if random.random() < 0.1:
        content["checksum"] = "x"
    torch.save(content, file)

    def read() -> None:
        opened = open_model(file)
        use(restored_model(opened.config, opened.checkpoint, with_heads=False).clip)

    return random.choice([read, lambda: open_checkpoint(folder, file.name)])


def folders(random: Random, folder: Path, marker: Path) -> Read:
    """Folders of CLIP and AltCLIP with odd settings, and with Python files to run."""
    source = random.choice([sound.huggingface, sound.altclip])()
    target = shutil.copytree(source, folder / "model")
    names = ["config.json", "model.safetensors.index.json", "preprocessor_config.json"]
    file = target / random.choice([*names, "config.json", "tokenizer_config.json"])
    tree = json.loads(file.read_text()) if file.exists() else {"weight_map": {"x": "x"}}
    kind = random.randrange(5)
    if kind == 0:
        (target / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: ...\n")
        autos = ("AutoModel", "AutoConfig", "AutoImageProcessor", "AutoProcessor")
        tree["auto_map"] = {**dict.fromkeys(autos, "own.Own"), "AutoTokenizer": [None, "own.Own"]}
        tree["tokenizer_class"] = "Own"
    elif kind == 1 and "weight_map" in tree:
        tree["weight_map"] = dict.fromkeys(
            tree["weight_map"],
            random.choice(["../x.safetensors", "/etc/passwd", "a/b.safetensors", "x.py", "", "."]),
        )
    else:
        tree = odd(random, tree)
    text = json.dumps(tree)
    text = random.choice([text] * 8 + [text[:-9], "[" * 10**5, "1" * 5000, "", '"\ud800"'])
    file.write_text(text, errors="surrogatepass")
    return lambda: load_backbone(target)


def paths(random: Random, folder: Path, marker: Path) -> Read:
    """Names of no file, of a device, of a pipe, of a folder."""
    os.mkfifo(folder / "pipe.pt")
    (folder / "folder.pt").mkdir()
    (folder / "empty.pt").touch()
    (folder / "loop.pt").symlink_to("loop.pt")
    names = ["pipe.pt", "folder.pt", "empty.pt", "loop.pt", "x" * 300, "a\0b", "\ud800", ""]
    name = str(folder / random.choice(names))
    return readers(random, Path(random.choice([name, "/dev/null", f"hf:{name}", "hf:../x", name])))


KINDS = (pickles, archives, damaged, safetensors, states, own, folders, folders, paths)
