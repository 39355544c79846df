"""How the code hangs together: one-way imports, light imports, documented and annotated names, small files."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import degrade

ROOT = Path(__file__).parent.parent
LAYERS = ("degrade", "restore", "samplers", "experiments")  # each may import those before it
LIBRARY = LAYERS[:3]
LAZY = {"import_module", "require", "__import__", "importorskip"}  # what imports a module by a string

SOURCES = {
    file.relative_to(ROOT).as_posix(): ast.parse(file.read_text())
    for layer in LAYERS
    for file in sorted((ROOT / layer).rglob("*.py"))
    if not {"build", "__pycache__"} & set(file.parts)
}
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


def everywhere(rule, *layers) -> dict[str, list[str]]:
    """Files of the layers in which a rule finds something, and what."""
    found = {file: rule(tree) for file, tree in SOURCES.items() if file.partition("/")[0] in layers}
    return {file: faults for file, faults in found.items() if faults}


def test_all_layers_were_read():
    assert {file.partition("/")[0] for file in SOURCES} == set(LAYERS)
    assert len(SOURCES) > 40


@pytest.mark.parametrize("layer", LAYERS)
def test_knowledge_flows_one_way(layer):
    assert everywhere(lambda tree: upward(tree, layer), layer) == {}


def test_degradations_need_only_torch_and_pydantic():
    """Whatever else one of them uses is imported inside a function, and asked for with `require` in the same file."""
    assert everywhere(unasked, "degrade") == {}


def test_importing_the_library_is_light():
    """Each package imports those below it and none of the packages that only some features need."""
    code = """if True:
        import sys, torch, pydantic
        tops = lambda: {name.partition(".")[0] for name in sys.modules}
        known = tops()
        for package in ("degrade", "restore", "samplers"):
            __import__(package)
            print(*sorted(tops() - known))
            known = tops()
    """
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    heavy = {"PIL", "kornia", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "torchvision", "tqdm", "experiments"}
    heavy |= {"pydantic_settings", "rich", "torchmetrics"}
    degrade, restore, samplers = (set(line.split()) for line in run.stdout.splitlines())
    assert not (degrade | restore | samplers) & heavy
    assert "degrade" in degrade
    assert not degrade & {"restore", "samplers", "einops", "safetensors"}
    assert "restore" in restore
    assert "samplers" not in restore
    assert "samplers" in samplers


def test_help_of_a_program_waits_for_no_heavy_package():
    """A program imports them where they are used: torchvision alone takes longer than torch."""
    programs = [path.stem for path in (ROOT / "experiments").glob("*.py") if path.stem != "__init__"]
    code = f"import sys\nfor name in {programs}: __import__(f'experiments.{{name}}')\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    heavy = {"kornia", "matplotlib", "pandas", "scipy", "sklearn", "torchmetrics", "torchvision"}
    assert not {name.partition(".")[0] for name in run.stdout.split()} & heavy


@pytest.mark.parametrize("package", LIBRARY)
def test_every_public_name_exists(package):
    for file in SOURCES:
        layer, _, rest = file.partition("/")
        if layer == package and rest != "__main__.py":
            name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            module = importlib.import_module(name)
            listed = getattr(module, "__all__", [])
            assert [name for name in listed if not hasattr(module, name)] == []
            assert len(listed) == len(set(listed))


def test_public_names_of_experiments_exist():
    assert everywhere(unbound, "experiments") == {}


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


def test_functions_take_six_arguments_at_most():
    assert everywhere(crowded, *LAYERS) == {}


def asking(tree: ast.Module) -> list[str]:
    """Questions about a concrete degradation: what others need to know, a degradation declares."""
    concrete = {cls.__name__ for cls in map(degrade.get, degrade.names())} | {"AffinePath", "Mask"}
    calls = [node for node in ast.walk(tree) if called(node) in {"isinstance", "issubclass"} and len(node.args) == 2]
    return [name.id for node in calls for name in ast.walk(node.args[1]) if getattr(name, "id", "") in concrete]


def test_nobody_asks_a_degradation_for_its_class():
    assert everywhere(asking, *LAYERS[1:]) == {}


def test_everything_public_is_documented():
    assert everywhere(undocumented, *LAYERS) == {}


def test_everything_public_is_annotated():
    assert everywhere(unannotated, *LIBRARY) == {}


def test_the_library_is_typed_for_its_users():
    assert [package for package in LIBRARY if not (ROOT / package / "py.typed").is_file()] == []


def test_no_file_can_run_code_and_no_device_is_named():
    assert everywhere(unsafe, *LAYERS) == {}


def test_programs_import_no_programs():
    programs = {file.removesuffix(".py").replace("/", ".") for file in SOURCES if file.count("/") == 1}
    programs = {name for name in programs if name.startswith("experiments.") and not name.endswith("__init__")}
    found = {}
    for file, tree in SOURCES.items():
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "experiments"]
        names = {f"experiments.{alias.name}" for node in nodes for alias in node.names} | set(imports(tree, ""))
        if names & programs:
            found[file] = names & programs
    assert "experiments.train" in programs
    assert found == {}


def test_nothing_changes_the_import_path():
    assert everywhere(path_tricks, *LAYERS) == {}


def test_files_are_small():
    sizes = {file: len((ROOT / file).read_text().splitlines()) for file in SOURCES}
    assert {file: lines for file, lines in sizes.items() if lines >= 300} == {}


def test_functions_are_short():
    assert everywhere(long_functions, *LAYERS) == {}


@pytest.mark.parametrize(
    ("rule", "code", "faults"),
    [
        (crowded, "def f(a, b, c, d, e, f, g): pass\ndef _f(a, b, c, d, e, f, g): pass", ["f"]),
        (asking, "isinstance(D, Blur)\nisinstance(D, (int, degrade.Degradation))", ["Blur"]),
        (lambda tree: upward(tree, "degrade"), "def f():\n    from restore.ema import EMA", ["restore.ema"]),
        (
            lambda tree: upward(tree, "restore"),
            "import degrade, samplers.steps.diffusion as s",
            ["samplers.steps.diffusion"],
        ),
        (
            lambda tree: upward(tree, "samplers"),
            "m = importlib.import_module('experiments.run.loop')",
            ["experiments.run.loop"],
        ),
        (lambda tree: upward(tree, "experiments"), "from tests.cases import images", ["tests.cases"]),
        (lambda tree: upward(tree, "samplers"), "from degrade import D\nfrom . import steps\nimport restore", []),
        (unasked, "import torch, kornia\nneed('kornia', 'f')", ["kornia"]),
        (unasked, "def f():\n    require('PIL', 'f')\n    import PIL, scipy", ["scipy"]),
        (unannotated, "def f(a, *b, c: int = 0, **d) -> None: ...", ["f(a, b, d)"]),
        (unannotated, "class A:\n    def __call__(self, x: int): ...\n    def _g(self, x): ...", ["__call__()"]),
        (undocumented, "class A:\n    '''A.'''\n    def f(self): ...\n    def __add__(self, x): ...", ["module", "f"]),
        (unsafe, "def f():\n    import pickle\n    net.cuda()\n    torch.cuda.is_available()", ["pickle", ".cuda()"]),
        (unsafe, "torch.load(p, weights_only=False)\ntorch.load(p, weights_only=True)", ["weights_only=False"]),
        (path_tricks, "import sys, os\nsys.path.insert(0, os.path.join('a'))", ["sys.path"]),
        (long_functions, "def f():\n" + 60 * "    x\n", ["f: 61 lines"]),
        (long_functions, "def f():\n" + 59 * "    x\n", []),
        (unbound, "__all__ = ['a', 'b', 'c']\nfrom x import y as a\ndef b(): ...", ["c"]),
    ],
)
def test_the_rules_find_what_they_forbid(rule, code, faults):
    assert sorted(rule(ast.parse(code))) == sorted(faults)
