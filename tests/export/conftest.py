"""A small run, and the ONNX folder that is exported of it once."""

from pathlib import Path

import pytest

import options
from misc.export import main
from tests.command_line import parse
from tests.conftest import SMALL
from tests.export.runs import write_run

DEMO = str(options.RECIPES / "demo.yaml")


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, places) -> Path:
    """A text-to-image run of the demo's recipe in miniature, on rectangles."""
    config = parse(["--config", DEMO, *SMALL, *places]).configure()
    return write_run(tmp_path_factory.mktemp("exported") / "run", config)


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory, text_run) -> Path:
    """The run as ONNX."""
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    assert main([str(text_run), str(folder), "--format", "onnx"]) == 0
    return folder
