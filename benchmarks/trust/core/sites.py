"""The small changes that turn a module into a mutant.

One mutant differs from the module in one of these: a comparison (`<` and `<=`, `==` and `!=`, `in` and
`not in`), an arithmetic or Boolean operator, a negated condition, a constant (a number plus one, `True` and
`False`, bytes; of texts only keys, which are what a reader looks up or compares), a returned value (None), a
statement that is left out (a call, a `raise`, an assignment to an attribute or an item), `break` and
`continue`.

Left alone are texts of messages (all that a `raise` builds, and every formatted text), annotations,
decorators and what only types need. None of these changes the bytes that are read or written.

A mutant's name has its file, its function and its change, but no line, so that it outlives changes elsewhere.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
LOOKUPS = {"get", "pop", "setdefault", "getattr", "hasattr", "startswith", "endswith"}
OF_TYPES = {"frozen", "kw_only", "slots"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Site:
    """One change.

    Attributes:
        name: what is changed, without the file; no two sites of a module share it.
        lines: the lines of the statement, in the original.
        local: whether only calls of a function run it, and not the import of the module.
    """

    name: str
    lines: range
    local: bool


@dataclass
class _Change:
    place: ast.AST
    field: str
    index: int | None
    new: ast.AST
    label: str
    scope: str
    lines: range
    local: bool


def sites(source: str) -> list[Site]:
    """Return all changes of a module."""
    return [site for site, _ in _named(ast.parse(source))]


def mutant(source: str, name: str) -> str:
    """Return the source of a module with one change.

    Raises:
        KeyError: if the module has no such change.
    """
    tree = ast.parse(source)
    for site, change in _named(tree):
        if site.name == name:
            if change.index is None:
                setattr(change.place, change.field, change.new)
            else:
                getattr(change.place, change.field)[change.index] = change.new
            return ast.unparse(ast.fix_missing_locations(tree))
    raise KeyError(name)


def _named(tree: ast.Module) -> Iterator[tuple[Site, _Change]]:
    seen: Counter[str] = Counter()
    for change in _Walk().of(tree):
        name = f"{change.scope}: {change.label}"
        seen[name] += 1
        if seen[name] > 1:
            name += f" ({seen[name]})"
        yield Site(name, change.lines, change.local), change


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 80 else text[:77] + "..."


class _Walk:
    """Visits a module, and knows in which function and statement it is."""

    def __init__(self) -> None:
        self.scope: tuple[str, ...] = ()
        self.local = False
        self.lines = range(0)

    def of(self, tree: ast.Module) -> Iterator[_Change]:
        yield from self.body(tree, "body")

    def body(self, owner: ast.AST, field: str) -> Iterator[_Change]:
        """Visit the statements in a field of a node."""
        for index, statement in enumerate(getattr(owner, field)):
            yield from self.statement(owner, field, index, statement)

    def statement(self, owner: ast.AST, field: str, index: int, node: ast.stmt) -> Iterator[_Change]:
        """Visit a statement: what it can be replaced by, and what is in it."""
        inner = getattr(node, "body", None)
        end = inner[0].lineno - 1 if inner else node.end_lineno or node.lineno
        self.lines = range(node.lineno, max(end, node.lineno) + 1)
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield from self.definition(node)
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)) or _only_types(node):
            return
        if (new := _replacement(node)) is not None:
            what = (
                f"{_text(node)} → {_text(new)}" if not isinstance(new, ast.Pass) else f"without {_text(node)}"
            )
            yield self.change(owner, field, index, new, what)
        if isinstance(node, ast.Raise):
            return
        yield from self.children(node)

    def definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[_Change]:
        """Visit what a definition evaluates, and then its statements."""
        before = self.scope, self.local
        self.scope = (*self.scope, node.name)
        if isinstance(node, ast.ClassDef):
            for keyword in node.keywords:
                if keyword.arg not in OF_TYPES:
                    yield from self.expression(keyword, "value", None, keyword.value)
        else:
            for field in ("defaults", "kw_defaults"):
                for i, value in enumerate(getattr(node.args, field)):
                    if value is not None:
                        yield from self.expression(node.args, field, i, value)
            self.local = True
        yield from self.body(node, "body")
        self.scope, self.local = before

    def children(self, node: ast.AST) -> Iterator[_Change]:
        """Visit what is in a node."""
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, ast.stmt):
                        yield from self.statement(node, field, i, item)
                    elif isinstance(item, ast.AST):
                        yield from self.expression(node, field, i, item)
            elif isinstance(value, ast.AST):
                yield from self.expression(node, field, None, value)

    def expression(self, owner: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[_Change]:
        """Visit an expression, and what stands in its place."""
        if isinstance(
            node, (ast.JoinedStr, ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
        ):
            return
        tested = field == "test" or field == "ifs"
        for new in _alternatives(node, tested, self.local or bool(self.scope)):
            where = "" if len(_text(node)) > 8 else f" in {_text(owner)}"
            yield self.change(owner, field, index, new, f"{_text(node)} → {_text(new)}{where}")
        for place, at, i, key in _keys(node):
            new = ast.Constant(("XX" if isinstance(key.value, str) else b"XX") + key.value)
            yield self.change(place, at, i, new, f"{key.value!r} of {_text(node)} → {new.value!r}")
        yield from self.children(node)

    def change(self, place: ast.AST, field: str, index: int | None, new: ast.AST, label: str) -> _Change:
        return _Change(
            place, field, index, new, label, ".".join(self.scope) or "module", self.lines, self.local
        )


def _only_types(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        named = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        made = (
            node.value.func.id
            if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
            else ""
        )
        return named == "__all__" or made in ("TypeVar", "NewType")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _replacement(node: ast.stmt) -> ast.stmt | None:
    """Return the statement that stands in for another one, if there is one."""
    if isinstance(node, (ast.Raise, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        return ast.Pass()
    if isinstance(node, ast.Assign) and all(
        isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets
    ):
        return ast.Pass()
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        return ast.Return(ast.Constant(None))
    if isinstance(node, ast.Continue):
        return ast.Break()
    if isinstance(node, ast.Break):
        return ast.Continue()
    if isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        return ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)
    return None


def _alternatives(node: ast.AST, tested: bool, inside: bool) -> Iterator[ast.expr]:
    """Yield the expressions that can stand in for a node."""
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            new = copy.copy(node)
            new.ops = [*node.ops[:i], COMPARISONS[type(operator)](), *node.ops[i + 1 :]]
            yield new
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
            yield node.operand
    elif isinstance(node, ast.BinOp):
        joins_types = isinstance(node.op, ast.BitOr) and not inside
        joins_path = isinstance(node.op, ast.Div) and isinstance(node.right, (ast.Constant, ast.JoinedStr))
        if type(node.op) in ARITHMETIC and not joins_types and not joins_path:
            yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, (int, float)):
            yield ast.Constant(node.value + 1)
        elif isinstance(node.value, bytes):
            yield ast.Constant(b"XX" + node.value)
    elif tested and isinstance(node, ast.expr):
        yield ast.UnaryOp(ast.Not(), node)


def _keys(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.Constant]]:
    """Yield the texts of a node that are looked up or compared, each with its place."""

    def texts(owner: ast.AST, field: str) -> Iterator[tuple[ast.AST, str, int | None, ast.Constant]]:
        value = getattr(owner, field)
        for i, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                yield owner, field, i, item
            elif isinstance(item, (ast.Tuple, ast.List, ast.Set)) and isinstance(owner, ast.Compare):
                for j, element in enumerate(item.elts):
                    if isinstance(element, ast.Constant) and isinstance(element.value, str):
                        yield item, "elts", j, element

    if isinstance(node, ast.Subscript):
        yield from texts(node, "slice")
    elif isinstance(node, ast.Dict):
        yield from texts(node, "keys")
    elif isinstance(node, ast.Compare):
        yield from texts(node, "left")
        yield from texts(node, "comparators")
    elif isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in LOOKUPS:
            yield from texts(node, "args")
