"""Small faults of a source: another operator, number or branch, a statement or argument less.

Messages of errors, annotations, decorators, docstrings and `strict=` are left as they are.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.USub: ast.UAdd,
}  # fmt: skip
OPERATIONS = ast.Compare | ast.BinOp | ast.BoolOp | ast.UnaryOp


class Edit(NamedTuple):
    """The lines of a file that differ, stripped: without the fault, and with it."""

    file: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    """A source with one fault.

    Args:
        line: where it is, from 1.
        source: the whole file with the fault in it.
    """

    edit: Edit
    line: int
    source: str

    def __str__(self) -> str:
        file, removed, added = self.edit
        signed = [f"- {line}" for line in removed] + [f"+ {line}" for line in added]
        return "\n".join([f"{file}:{self.line}", *signed])


def mutants(file: str, source: str) -> list[Mutant]:
    """Every mutant of a source, in the order of its lines.

    Args:
        file: its name in the mutants.
    """
    before, found = source.splitlines(), {}
    for node, change in _changes(ast.parse(source)):
        changed = _replace(source, node, change)
        after = changed.splitlines()
        first, rest = node.lineno - 1, len(before) - node.end_lineno
        removed, added = before[first : len(before) - rest], after[first : len(after) - rest]
        if removed != added:
            strip = (tuple(line.strip() for line in lines) for lines in (removed, added))
            found[changed] = Mutant(Edit(file, *strip), node.lineno, changed)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _replace(source: str, node: ast.AST, change: ast.AST) -> str:
    """The source with the text of a node replaced by that of another; columns count bytes."""
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[: line - 1])) for line in (node.lineno, node.end_lineno)]
    begin, end = starts[0] + node.col_offset, starts[1] + node.end_col_offset
    text = ast.unparse(change).encode()
    if isinstance(node, OPERATIONS):  # as an operand of another one
        text = b"(" + text + b")"
    return (source.encode()[:begin] + text + source.encode()[end:]).decode()


def _changes(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Nodes below one, each with another that is put in its place."""
    for node in _parts(tree):
        if not _is_guard(node):
            yield from _of_node(node)
            yield from _changes(node)


def _parts(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.FunctionDef(args=args):
            return [d for d in (*args.defaults, *args.kw_defaults) if d is not None] + node.body
        case ast.ClassDef():
            return node.body
        case ast.AnnAssign():
            return [node.value] if node.value else []
        case ast.Raise() | ast.JoinedStr():
            return []
    return list(ast.iter_child_nodes(node))


def _of_node(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Constant(value=bool()):
            yield node, ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield node, ast.Constant(node.value + 1)
        case ast.Constant(value=float()):
            yield node, ast.Constant(node.value * 2 if node.value else 1.0)
        case ast.Compare(ops=[operator]) | ast.BinOp(op=operator) | ast.BoolOp(op=operator):
            if type(operator) in SWAPS:
                yield node, _with_operator(node, SWAPS[type(operator)]())
        case ast.UnaryOp(op=ast.USub()):
            yield node, node.operand
        case ast.UnaryOp(op=ast.Not()):
            yield node, ast.Call(ast.Name("bool"), [node.operand], [])
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, OPERATIONS):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield node, ast.Pass()
        case ast.Return(value=value) if value is not None:
            yield node, ast.Return(ast.Constant(None))
    if isinstance(node, ast.Call):
        for index in range(len(node.keywords)):
            less = copy.copy(node)
            less.keywords = [*node.keywords[:index], *node.keywords[index + 1 :]]
            if not _is_guard(node.keywords[index]):
                yield node, less


def _is_guard(node: ast.AST) -> bool:
    """`strict=` of zip: like an assertion, it stops only the mistakes of a programmer."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _with_operator(node: ast.AST, operator: ast.AST) -> ast.AST:
    changed = copy.copy(node)
    if isinstance(changed, ast.Compare):
        changed.ops = [operator]
    else:
        changed.op = operator
    return changed
