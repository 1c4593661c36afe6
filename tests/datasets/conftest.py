import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def dataset(tmp_path):
    """Writes the records and a picture of each; returns the annotation file and the image root."""

    def write(content: list[dict[str, object]], name: str = "mine.json") -> tuple[Path, Path]:
        file, root = tmp_path / name, tmp_path / "pictures"
        file.write_text(json.dumps(content), encoding="utf-8")
        for record in content:
            picture = root / str(record["file_path"])
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 8)).save(picture)
        return file, root

    return write
