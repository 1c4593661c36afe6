"""Files that commands write where the user says, and what keeps them from replacing others."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from misc.runtime.script import given_path

HEAD = 16_384  # bytes of a file in which its mark lies


@dataclass(frozen=True)
class OutputFile:
    """The type of an option that names a file to write.

    A file that exists is replaced only if it is of the same kind, or empty: so no command replaces
    what it reads, be it an annotation file, a checkpoint, or a picture of an index. A link stays,
    and the file that it points to is written.

    Args:
        kind: of the file, in words.
        mark: bytes that all files of the kind have near their beginning, and no others.
    """

    kind: str
    mark: bytes

    def __call__(self, word: str) -> Path:
        """The path of the file.

        Raises:
            ArgumentTypeError: the path is empty, or of a folder, a device or another kind of file.
        """
        file = given_path(word)
        try:
            fault = self._fault(file)
        except OSError as error:
            fault = f"cannot be read ({error.strerror}), give another one"
        if fault:
            raise argparse.ArgumentTypeError(f"{word} {fault}")
        return Path(os.path.realpath(file)) if file.is_symlink() else file

    def _fault(self, file: Path) -> str | None:
        if file.is_dir():
            return "is a folder, give a file"
        if any(parent.is_file() for parent in file.parents):
            return "lies below a file, give another one"
        if not file.exists():
            return None
        if not file.is_file():
            return "is a device or a pipe, give a file"
        with file.open("rb") as stream:
            head = stream.read(HEAD)
        if head and self.mark not in head:
            return f"exists and is not {self.kind}, so it is kept: give another name"
        return None


# Here and not beside their writers, which import torch: parsers answer at once.
CHECK = OutputFile("an earlier report of the check", b',\n  "counts": {')
FEATURES = OutputFile("a file of features", b'{"__metadata__":{"features":')
REPORT = OutputFile("an earlier report", b'<link rel="icon" href="data:,"><title>')
SHEET = OutputFile("a contact sheet", b"contact sheet of a person search")
