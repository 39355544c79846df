"""Rules for source files: each returns the faults of one syntax tree."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

import degrade

LAYERS = ("degrade", "restore", "samplers", "experiments")  # each may import those before it
LIBRARY = LAYERS[:3]
LAZY = {"import_module", "require", "__import__", "importorskip"}  # what imports a module by a string
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def called(node: ast.AST) -> str:
    """Name of the function that a node calls."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names of all modules imported anywhere in a file of `package`, inside functions and by string too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ".".join(filter(None, [package if node.level else "", node.module]))
        elif called(node) in LAZY and node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def upward(tree: ast.AST, layer: str) -> list[str]:
    """Imports of layers above `layer`, and of the tests."""
    above = {*LAYERS[LAYERS.index(layer) + 1 :], "tests"}
    return [name for name in imports(tree, layer) if name.partition(".")[0] in above]


def unasked(tree: ast.Module) -> list[str]:
    """Imports of other packages than torch and pydantic, at the top of a file or not asked for with `require`."""
    known = {"torch", "pydantic", "pydantic_core", "pydantic_settings", "degrade", *sys.stdlib_module_names}
    asked = {getattr(node.args[0], "value", "") for node in ast.walk(tree) if called(node) == "require"}
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [(name, node in tree.body) for node in statements for name in imports(node, "degrade")]
    return [name for name, top in names if name.partition(".")[0] not in known and (top or name not in asked)]


def public(tree: ast.Module) -> Iterator[FUNCTION]:
    """Functions and methods of public classes whose names are public, and Python's own such as __call__."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for function in inside:
            if isinstance(function, FUNCTION) and (not function.name.startswith("_") or function.name[:2] == "__"):
                yield function


def unannotated(tree: ast.Module) -> list[str]:
    """Public functions with a parameter or a result of no stated type."""
    found = []
    for function in public(tree):
        given = function.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        bare = [arg.arg for arg in every if arg and arg.annotation is None and arg.arg not in {"self", "cls"}]
        if bare or function.returns is None:
            found.append(f"{function.name}({', '.join(bare)})")
    return found


def undocumented(tree: ast.Module) -> list[str]:
    """The module, public classes and public functions without a docstring; Python's own methods need none."""
    places = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    places += [function for function in public(tree) if function.name[:2] != "__"]
    missing = [place.name for place in places if not ast.get_docstring(place)]
    return missing if ast.get_docstring(tree) else ["module", *missing]


def unsafe(tree: ast.Module) -> list[str]:
    """What runs code from a file, or ties the code to one make of device."""
    found = [name for name in imports(tree, "") if name.partition(".")[0] in {"pickle", "cPickle", "dill", "marshal"}]
    for node in ast.walk(tree):
        if called(node) == "cuda" and isinstance(node.func, ast.Attribute):
            found.append(".cuda()")
        if (
            isinstance(node, ast.keyword)
            and node.arg == "weights_only"
            and getattr(node.value, "value", None) is not True
        ):
            found.append("weights_only=False")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.append("allow_pickle")
    return found


def long_functions(tree: ast.Module, most: int = 60) -> list[str]:
    """Functions of more than `most` lines, docstring included."""
    functions = (node for node in ast.walk(tree) if isinstance(node, FUNCTION))
    sizes = {function.name: function.end_lineno - function.lineno + 1 for function in functions}
    return [f"{name}: {lines} lines" for name, lines in sizes.items() if lines > most]


def path_tricks(tree: ast.Module) -> list[str]:
    """Uses of `sys.path`: the installation puts the packages on it."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return ["sys.path" for node in attributes if node.attr == "path" and getattr(node.value, "id", "") == "sys"]


def unbound(tree: ast.Module) -> list[str]:
    """Names in __all__ that the module does not define."""
    listed, bound = [], set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, FUNCTION | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            bound |= names
            listed += ast.literal_eval(node.value) if "__all__" in names else []
    return [name for name in listed if name not in bound]


def crowded(tree: ast.Module) -> list[str]:
    """Public functions and constructors with more than six arguments, self not counted."""
    found = []
    for function in ast.walk(tree):
        if isinstance(function, FUNCTION) and (not function.name.startswith("_") or function.name == "__init__"):
            given = function.args
            names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            if len([name for name in names if name not in {"self", "cls"}]) > 6:
                found.append(function.name)
    return found


def asking(tree: ast.Module) -> list[str]:
    """Questions about a concrete degradation: what others need to know, a degradation declares."""
    concrete = {cls.__name__ for cls in map(degrade.get, degrade.names())} | {"AffinePath", "Mask"}
    calls = [node for node in ast.walk(tree) if called(node) in {"isinstance", "issubclass"} and len(node.args) == 2]
    return [name.id for node in calls for name in ast.walk(node.args[1]) if getattr(name, "id", "") in concrete]
