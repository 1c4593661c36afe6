"""Exit statuses of a script, and what it prints of an error."""

import pytest

from errors import InputError
from misc.runtime.script import Parser, positive, run_script


@pytest.fixture
def parser() -> Parser:
    parser = Parser(prog="script")
    parser.add_argument("--number", type=positive, default=1)
    parser.add_argument("words", nargs="*")
    return parser


@pytest.mark.parametrize("status", [None, 0, 1])
def test_the_status_is_what_the_script_returns(parser, status):
    seen = []

    def run(asked):
        seen.append((asked.number, asked.words))
        return status

    assert run_script(parser, run, ["a", "--number", "3", "b"]) == (status or 0)
    assert seen == [(3, ["a", "b"])]


def fail(error: BaseException):
    def run(_):
        raise error

    return run


def test_a_users_mistake_is_one_sentence(parser, capsys):
    assert run_script(parser, fail(InputError("no such file")), []) == 2
    assert capsys.readouterr() == ("", "error: no such file\n")


def test_an_interruption_is_no_error(parser, capsys):
    assert run_script(parser, fail(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_a_programmers_error_is_raised(parser):
    with pytest.raises(ValueError, match="a bug"):
        run_script(parser, fail(ValueError("a bug")), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--numbr", "2"], "unrecognized arguments: --numbr; --help lists the options"),
        (["--number"], "argument --number: expected one argument"),
        (["--number", "0"], "argument --number: '0' is not a whole number of at least 1"),
        (["--number", "x"], "argument --number: 'x' is not a whole number of at least 1"),
    ],
)
def test_a_mistyped_option_is_one_sentence(parser, capsys, arguments, message):
    assert run_script(parser, fail(AssertionError("it ran")), arguments) == 2
    output, error = capsys.readouterr()
    assert not output
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_help_ends_well(parser, capsys):
    with pytest.raises(SystemExit) as caught:
        run_script(parser, fail(AssertionError("it ran")), ["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: script ")
