"""Recipes and command lines that nobody should write, and some that anybody might."""

import json
import os
from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from random import Random

import options
from errors import InputError
from misc.settings.keys import known_keys
from model.trees import Tree

COUNT, SAMPLE = 2000, 40
LONGEST = 2000  # characters of a message
JARGON = ("Error", "while ", "<class", "<block", " token ", "scalar", "pydantic")
BASE = f"base: {options.DEFAULT}\n"
DEEP = 10_000

VALUES = (
    *(
        "",
        "0",
        "-1",
        "1.5",
        "5000",
        "1e400",
        "-1e400",
        ".nan",
        ".inf",
        "1" * 5000,
        "0x" + "f" * 5000,
    ),
    *("true", "null", "~", "[]", "{}", "[1000000, 1000000]", "[-1, 2]", "[[1]]", "[null]", "[1, 2"),
    *(
        "'",
        '"',
        "x" * 300,
        "x" * 1_000_000,
        "a\nb",
        "\t",
        "a: b: c",
        "- 1",
        "? 1",
        "*a",
        "&a",
        "%x",
    ),
    *(
        "!!python/object/apply:os.mkdir [HERE]",
        "!!set {a}",
        "!!binary aGk=",
        "!!omap [a: 1]",
        "!x 1",
    ),
    *(
        "!!timestamp 2020-01-01",
        "!!int x",
        "!!bool x",
        "!!map [1]",
        "!!str 1",
        "!!float x",
        "!!seq 1",
    ),
    *(
        '"\\ud800"',
        '"\\0"',
        "\ud800",
        "\0",
        "\ufeff1",
        "\x07",
        "ünï 人 🧍",
        "@x",
        "`x`",
        "/dev/zero",
    ),
    *("[" * DEEP, "[" * DEEP + "]" * DEEP, "{a: " * DEEP, "- " * DEEP, "{a: 1, a: 2}", "{1: 2}"),
    *("{? [a] : b}", "<<", "{<<: {a: 1}}", "&a [*a]", "[&a x, *a]", "../..", "/", "resnet", "1:30"),
)
SNIPPETS = (
    *(
        "\t",
        "\0",
        "\ufeff",
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        ":",
        ": ",
        "- ",
        "&a ",
        "*a",
        "!!set ",
        "%",
    ),
    *(
        "\n---\n",
        "\n...\n",
        "# ",
        "| ",
        "> ",
        "\n  ",
        "\r",
        "\x85",
        "base: .\n",
        "data: 1\n",
        "1" * 400,
    ),
)


def case(random: Random, folder: Path) -> None:
    """Configure by a drawn command line; what comes of it is read back from what it writes."""
    marker = folder / "marker"
    draw = random.choice((_words, _words, _hostile_file, _changed_file, _bytes, _laughs, _bases))
    words = [word.replace("HERE", str(marker)) for word in draw(random, folder)]
    config, fault = None, ""
    try:
        config = options.parse(words).configure()
    except InputError as error:
        fault = str(error)
    assert not marker.exists(), "a file ran code"
    if config is None:
        assert 0 < len(fault) < LONGEST, f"a message of {len(fault)} characters"
        assert not [word for word in JARGON if word in fault], fault
        raise InputError(fault)
    copy = folder / "copy.yaml"
    copy.write_text(options.dump(config), encoding="utf-8")
    assert options.parse(["--config", str(copy)]).configure() == config


def _words(random: Random, folder: Path) -> list[str]:
    return [_setting(random) for _ in range(random.choice((1, 1, 1, 2, 5)))]


def _setting(random: Random) -> str:
    key = random.choice(known_keys())
    if random.random() < 0.25:
        spoil: Callable[[], str] = random.choice(
            (
                lambda: "",
                lambda: ".",
                lambda: key + ".",
                lambda: "." + key,
                lambda: key.replace(".", ".."),
                lambda: key[:-1],
                lambda: key + "." + random.choice(known_keys()),
                lambda: "".join(random.sample(key, len(key))),
                lambda: "ключ.人",
                lambda: "a\udcffb",
                lambda: "a" * 300,
                lambda: "a" * 1_000_000,
                lambda: "a." * DEEP,
                lambda: "--" + key,
                lambda: key + " ",
            )
        )
        key = spoil()
    elif random.random() < 0.3:
        return f"{key}={json.dumps(reduce(_below, key.split('.'), _default_tree()))}"
    equals = random.choice(("=",) * 20 + ("", "==", " = ", ":"))
    return f"{key}{equals}{random.choice(VALUES)}"


def _hostile_file(random: Random, folder: Path) -> list[str]:
    """A recipe with a hostile value at a known key."""
    *sections, last = random.choice(known_keys()).split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate((*sections, last))]
    text = "\n".join(lines) + " " + random.choice(VALUES) + "\n"
    if random.random() < 0.3:
        text += text  # a key comes twice
    return _recipe(folder, (BASE + text).encode("utf-8", "surrogatepass"))


def _changed_file(random: Random, folder: Path) -> list[str]:
    """The default recipe with lines dropped, doubled and indented, and snippets put in."""
    lines = _default().splitlines(keepends=True)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(lines))
        line = lines[at]
        column = random.randrange(len(line) + 1)
        lines[at] = random.choice(
            (
                "",
                line * 2,
                " " + line,
                "\t" + line,
                line[:column],
                line[:column] + random.choice(SNIPPETS) + line[column:],
                line.replace(": ", ":", 1),
                f"{line.partition(':')[0]}: {random.choice(VALUES)}\n",
            )
        )
    return _recipe(folder, "".join(lines).encode("utf-8", "surrogatepass"))


def _bytes(random: Random, folder: Path) -> list[str]:
    """The default recipe with flipped bytes, in another encoding, cut short, or very long."""
    text = _default()
    content = bytearray(text.encode())
    for _ in range(random.randint(1, 30)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return _recipe(
        folder,
        random.choice(
            (
                bytes(content),
                bytes(content),
                text.encode()[: random.randrange(len(text))],
                text.encode("utf-16"),
                text.encode("utf-16-le"),
                text.encode("utf-32"),
                text.encode("utf-8-sig"),
                random.randbytes(random.choice((0, 1, 100, 10_000))),
                text.encode() + b"# " + b"x" * 20_000_000,
                b"\n" * 5_000_000,
                b"- 1\n" * 1_000_000,
            )
        ),
    )


def _laughs(random: Random, folder: Path) -> list[str]:
    """Aliases of aliases: 10^9 or more nodes if they are expanded, or a chain of great depth."""
    width, depth = random.choice(((10, 9), (2, 40), (1, 3000)))
    lines = ["tuning:", "  a0: &a0 [x]"]
    for level in range(1, depth):
        lines.append(f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return _recipe(folder, (BASE + "\n".join(lines)).encode())


def _bases(random: Random, folder: Path) -> list[str]:
    """Bases that go round, or are none."""
    number = random.choice((1, 2, 40, 2000))
    kind = random.choice(("ring", "chain", "twice"))
    for index in range(number):
        below = f"b{index + 1}.yaml" if index < number - 1 else "b0.yaml"
        if kind != "ring" and index == number - 1:
            below = str(options.DEFAULT)
        text = f"base: [{below}, {below}]" if kind == "twice" else f"base: {below}"
        (folder / f"b{index}.yaml").write_text(text)
    (folder / "directory").mkdir()
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    base = random.choice(
        (
            *("b0.yaml",) * 6,
            *("directory", "loop", "fifo", "/dev/zero", "/dev/full", "/dev/null", "/proc/self/mem"),
            *("x" * 300, "''", ".", "..", "''", "~", "3", "[]", "[[a]]", "{a: 1}", '"a\\0b"', "no"),
        )
    )
    if random.random() < 0.3 and base[0] not in "'\"[{~":
        return ["--config", str(folder / base)]
    return _recipe(folder, f"base: {base}\nmisc: {{seed: 1}}".encode())


def _recipe(folder: Path, content: bytes) -> list[str]:
    file = folder / "recipe.yaml"
    file.write_bytes(content)
    return ["--config", str(file)]


def _below(tree: object, key: str) -> object:
    return tree.get(key) if isinstance(tree, dict) else tree


@cache
def _default_tree() -> Tree:
    return options.to_tree(options.parse([]).configure())


@cache
def _default() -> str:
    return options.DEFAULT.read_text(encoding="utf-8")
