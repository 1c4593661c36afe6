"""No call of the project runs code that comes with files: a lint over the calls that could."""

import ast

import pytest

from tests.test_house import SOURCES

# Loaders that run pickles or Python of a folder unless they are told not to, with what tells them.
ARGUMENTS = {
    "from_pretrained": ("trust_remote_code", False),
    "from_config": ("trust_remote_code", False),
    "pipeline": ("trust_remote_code", False),
    "torch.load": ("weights_only", True),
    "create_model": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "np.load": ("allow_pickle", False),
}
OWN = ("nn.Embedding.from_pretrained",)  # from a tensor
FORBIDDEN = (
    *("pickle.load", "pickle.loads", "torch.jit.load", "torch.hub.load", "marshal.loads"),
    *("joblib.load", "dill.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"),
)


def unsafe_calls(tree: ast.AST) -> list[str]:
    """The calls in a module that may run what they read, with their lines."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if name in OWN:
            continue
        given = {word.arg: word.value for word in call.keywords}
        for loader, (argument, value) in ARGUMENTS.items():
            if name != loader and not name.endswith(f".{loader}"):
                continue
            word = given.get(argument)
            if not isinstance(word, ast.Constant) or word.value is not value:
                found.append(f"{call.lineno}: {name} without {argument}={value}")
        if name in FORBIDDEN:
            found.append(f"{call.lineno}: {name}")
    return found


def test_nothing_that_is_read_is_run():
    found = {name: calls for name, tree in SOURCES.items() if (calls := unsafe_calls(tree))}
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "AutoTokenizer.from_pretrained(folder)",
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=True)",
        "AutoModel.from_pretrained(folder, **settings)",
        "transformers.AutoModel.from_config(config, trust_remote_code=trusted)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "open_clip.create_model(name)",
        "torch.jit.load(file)",
        "pickle.load(file)",
        "np.load(file)",
    ],
)
def test_unsafe_calls_are_noticed(code):
    assert len(unsafe_calls(ast.parse(code))) == 1


def test_safe_calls_pass():
    code = "torch.load(f, weights_only=True); A.from_pretrained(f, trust_remote_code=False)"
    assert unsafe_calls(ast.parse(code)) == []
