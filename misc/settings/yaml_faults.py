"""Faults of a YAML text, in words for those who write recipes, not parsers."""

import re

import yaml

EXPLAINED = (  # PyYAML's words, and ours; what begins alike stands with the longer one first
    (r"found character '\\t'", "a tab stands here: indent with spaces"),
    (r"found character '(.+)' that cannot", "a text cannot begin with {0}: put it in quotes"),
    (r"expected alphabetic or numeric", "a text cannot begin with * or &: put it in quotes"),
    (r"could not find expected ':'", "a colon is missing: write `key: value`"),
    (r"mapping values are not allowed", "a second colon: put a text with a colon in quotes"),
    (r"sequence entries are not allowed", "a list cannot begin here: put it on lines of its own"),
    (
        r"mapping keys are not allowed",
        "`? ` cannot stand here: put a text that begins so in quotes",
    ),
    (r"found unexpected end of stream", "a quote is not closed"),
    (r"found unexpected document separator", "a quote is not closed before the line `---`"),
    (r"found unknown escape|expected escape sequence", "`\\` in double quotes: use single quotes"),
    (r"invalid Unicode|chr\(\)", "`\\` in double quotes: use single quotes"),
    (r"expected '?,'? or '([\]}])'", "a comma or the closing {0} is missing"),
    (r"expected <block end>", "it does not fit the lines above: check indentation and quotes"),
    (r"expected the node content", "a value is missing"),
    (r"but found another document", "a second document begins: `---` stands at most on line 1"),
    (
        r"expected '<document start>'",
        "it does not fit the lines above: check indentation and quotes",
    ),
    (r".*(chomping|indentation) indicator", "after | or > the text begins on the next line"),
    (r".*comment or a line break", "after | or > the text begins on the next line"),
    (r".*(tag|URI|directive|version)", "a text cannot begin with ! or %: put it in quotes"),
)


class Fault(yaml.MarkedYAMLError):
    """A fault in our own words."""

    def __init__(self, words: str, mark: yaml.Mark) -> None:
        super().__init__(problem=words, problem_mark=mark)


def explain(error: yaml.YAMLError) -> str:
    """A sentence that says what is wrong and what to do."""
    if isinstance(error, Fault):
        return str(error.problem)
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character U+{error.character:04X} is not allowed in text: take it out"
    problem = str(getattr(error, "problem", None) or getattr(error, "context", None) or error)
    for pattern, words in EXPLAINED:
        if found := re.match(pattern, problem):
            return words.format(*found.groups())
    return "this cannot be read: check indentation, and put a text with special signs in quotes"


def line_of(error: yaml.YAMLError, text: str) -> int | None:
    """The number of the line at fault, the first one being 1."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark else None
