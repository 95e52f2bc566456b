"""Settings of a method, read from the source of its dataclass without importing it.

A method's module imports torch, which takes seconds; its settings are plain values. So the command line is made from a
twin of the dataclass that has the same fields, types, defaults and docstrings. Where the source holds something that
this reader does not evaluate, the module is imported after all; a test holds every twin equal to its original.
"""

import ast
import builtins
import importlib
import operator
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import tyro

from intaglio.files import PACKAGE

LIGHT_MODULES = frozenset(sys.stdlib_module_names) | {"tyro"}
"""Modules that may be imported for `--help`."""
CALLABLE = (field, Path, tyro.conf.arg)
"""Functions that an expression may call."""
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
}


class NotUnderstood(LookupError):
    """The source holds something that this reader does not evaluate."""


@dataclass(frozen=True)
class Declared:
    """A class as its source declares it."""

    name: str
    doc: str
    fields: dict[str, tuple[Any, Any]]
    """Annotation and default (MISSING where there is none) by name, inherited ones first."""


def load(target: str) -> Any:
    """Import the object that `module:Name` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def settings_of(target: str) -> type:
    """The twin of the dataclass `module:Class`; the class itself where its source is not understood."""
    module, _, name = target.partition(":")
    try:
        found = Module.read(module)[name]
    except NotUnderstood:
        return load(target)
    if not isinstance(found, Declared):
        return load(target)
    fields = [(key, *declaration) for key, declaration in found.fields.items()]
    required = [(key, annotation) for key, annotation, default in fields if default is MISSING]
    optional = [(key, annotation, default) for key, annotation, default in fields if default is not MISSING]
    namespace = {"__doc__": found.doc, "__module__": module}
    return make_dataclass(found.name, [*required, *optional], namespace=namespace, frozen=True)


def class_variable(target: str, name: str) -> Any:
    """A class variable's plain value, by the source of `module:Class` or of its bases; else by importing the class."""
    module, _, kind = target.partition(":")
    try:
        return Module.read(module).class_variable(kind, name)
    except NotUnderstood:
        return getattr(load(target), name)


class Module:
    """The top-level names of a module's source, each evaluated when it is looked up."""

    def __init__(self, tree: ast.Module):
        self.nodes: dict[str, ast.stmt] = {}
        for node in tree.body:
            for name in _bound(node):
                self.nodes[name] = node

    @staticmethod
    @cache
    def read(module: str) -> "Module":
        """The module of that name; its file is found beside this package, without importing a parent."""
        inside = PACKAGE.joinpath(*module.split(".")[1:])
        path = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
        if not module.startswith("intaglio.") or not path.is_file():
            raise NotUnderstood(module)
        return Module(ast.parse(path.read_text(encoding="utf-8")))

    def __getitem__(self, name: str) -> Any:
        node = self.nodes.get(name)
        match node:
            case None if hasattr(builtins, name):
                return getattr(builtins, name)
            case ast.ClassDef():
                return self._declared(node)
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                return self.value(value)
            case ast.Import(names=aliases):
                return _light(next(a.name for a in aliases if name == (a.asname or a.name)))
            case ast.ImportFrom(module=str(module), names=aliases):
                original = next(a.name for a in aliases if name == (a.asname or a.name))
                if module.partition(".")[0] == "intaglio":
                    return Module.read(module)[original]
                return getattr(_light(module), original)
        raise NotUnderstood(name)

    def class_variable(self, kind: str, name: str) -> Any:
        """The value of a variable in the body of a class, or of the first of its bases that has it.

        Raises `NotUnderstood` where none has it, or its value is not plain.
        """
        match self.nodes.get(kind):
            case ast.ImportFrom(module=str(module), names=aliases) if module.partition(".")[0] == "intaglio":
                original = next(a.name for a in aliases if kind == (a.asname or a.name))
                return Module.read(module).class_variable(original, name)
            case ast.ClassDef(body=body, bases=bases):
                for statement in body:
                    match statement:
                        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                            if name in _bound(statement):
                                return self.value(value)
                for base in bases:
                    with suppress(NotUnderstood):
                        return self.class_variable(ast.unparse(base).partition("[")[0], name)
        raise NotUnderstood(f"{kind}.{name}")

    def value(self, node: ast.expr) -> Any:
        """The value of an expression of plain values and types."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self[name]
            case ast.Attribute(value=owner, attr=name):
                return getattr(self.value(owner), name)
            case ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.Subscript(value=owner, slice=index):
                return self.value(owner)[self.value(index)]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.value(operand)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self._called(self.value(function), args, keywords)
        raise NotUnderstood(ast.unparse(node))

    def _called(self, function: Any, args: list[ast.expr], keywords: list[ast.keyword]) -> Any:
        if function not in CALLABLE:
            raise NotUnderstood(str(function))
        named = {k.arg: self.value(k.value) for k in keywords if k.arg is not None}
        return function(*(self.value(arg) for arg in args), **named)

    def _declared(self, node: ast.ClassDef) -> Declared:
        fields: dict[str, tuple[Any, Any]] = {}
        for base in reversed(node.bases):
            found = self.value(base.value if isinstance(base, ast.Subscript) else base)
            fields |= found.fields if isinstance(found, Declared) else {}
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            fields |= self._fields(node.body)
        return Declared(node.name, ast.get_docstring(node) or "", fields)

    def _fields(self, body: list[ast.stmt]) -> dict[str, tuple[Any, Any]]:
        fields = {}
        for statement, after in zip(body, [*body[1:], ast.Pass()], strict=True):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if "ClassVar" in ast.unparse(statement.annotation):
                continue
            annotation = self.value(statement.annotation)
            match after:
                case ast.Expr(value=ast.Constant(value=str(doc))):
                    annotation = Annotated[annotation, tyro.conf.arg(help=" ".join(doc.split()))]
            fields[statement.target.id] = (annotation, self.value(statement.value) if statement.value else MISSING)
        return fields


def default_of(declared: Field[Any]) -> Any:
    """A field's default, made anew where a factory makes it; MISSING where the field is required."""
    return declared.default_factory() if declared.default_factory is not MISSING else declared.default


def _bound(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name for alias in aliases]
    return []


def _light(module: str) -> Any:
    if module.partition(".")[0] not in LIGHT_MODULES:
        raise NotUnderstood(module)
    return importlib.import_module(module)
