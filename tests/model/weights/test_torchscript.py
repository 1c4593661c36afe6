"""TorchScript archives: their tensors as torch reads them, and none of their code."""

import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from errors import InputError
from model.weights.sources import read_weights
from model.weights.torchscript import is_torchscript, read_torchscript
from tests.archives import write_openai_archive

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*. is deprecated")


@pytest.mark.parametrize("sizes", [{}, {"layers": (1, 1, 1, 1), "width": 16, "head_width": 16}])
def test_all_tensors_are_read_as_torch_reads_them(tmp_path, sizes):
    write_openai_archive(tmp_path / "clip.pt", **sizes)
    expected = torch.jit.load(tmp_path / "clip.pt", map_location="cpu").state_dict()
    found = read_torchscript(tmp_path / "clip.pt")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


class Plain(torch.nn.Module):
    """Tensors that are views of one another, of several types, one of them empty."""

    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(12.0).reshape(3, 4)
        self.register_buffer("base", base)
        self.register_buffer("columns", base.t()[1:])
        self.register_buffer("empty", torch.empty(0, dtype=torch.int64))
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("small", torch.tensor([1, 2], dtype=torch.int8))
        self.register_buffer("brief", torch.ones(2, dtype=torch.bfloat16))
        self.sizes: list[int] = [3, 4]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.sizes[0]


def test_views_types_and_lists(tmp_path):
    module = Plain()
    torch.jit.script(module).save(str(tmp_path / "plain.pt"))
    found = read_torchscript(tmp_path / "plain.pt")
    assert found.keys() == module.state_dict().keys()
    for name, tensor in module.state_dict().items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


class Payload(torch.nn.Module):
    """A module that overwrites a file while `torch.jit.load` reads it."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(2))
        self.marker = marker

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.weight = state[0]
        self.marker = state[1]
        self.training = state[2]
        torch.save(state[0], state[1])


def test_the_code_of_an_archive_does_not_run(tmp_path):
    file, marker = tmp_path / "payload.pt", tmp_path / "marker"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Payload(str(marker))).save(str(file))
    torch.jit.load(str(file))
    assert marker.exists(), "the payload does nothing, and this test shows nothing"
    marker.unlink()
    assert is_torchscript(file)
    with pytest.raises(InputError, match="cannot be read as weights"):
        read_weights(file)
    assert not marker.exists()


def rewrite(source: Path, target: Path, change) -> Path:
    """An archive with other content in some of its files, or other compression."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content, compression = change(name, old.read(name))
            new.writestr(name, content, compression)
    return target


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: (content[: len(content) // 2], zipfile.ZIP_STORED),
        lambda name, content: (content, zipfile.ZIP_DEFLATED),
        lambda name, content: (
            content.replace(b"collections\nOrderedDict", b"os\nsystem")
            if name.endswith("data.pkl")
            else content,
            zipfile.ZIP_STORED,
        ),
        lambda name, content: (
            b"cos\nsystem\n(S'true'\ntR." if name.endswith("data.pkl") else content,
            zipfile.ZIP_STORED,
        ),
    ],
    ids=["cut", "compressed", "renamed", "command"],
)
def test_damaged_and_hostile_archives_are_refused(tmp_path, change):
    write_openai_archive(tmp_path / "clip.pt")
    file = rewrite(tmp_path / "clip.pt", tmp_path / "other.pt", change)
    with zipfile.ZipFile(tmp_path / "clip.pt") as old, zipfile.ZipFile(file) as new:
        if all(old.read(name) == new.read(name) for name in old.namelist()):
            assert any(info.compress_type for info in new.infolist())
    with pytest.raises(InputError, match="cannot be read as weights"):
        read_weights(file)
