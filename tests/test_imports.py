"""What every source file keeps to: who imports whom, what is public, how large it is."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_rules import (
    LAYERS,
    LIBRARY,
    asking,
    crowded,
    imports,
    long_functions,
    path_tricks,
    unannotated,
    unasked,
    unbound,
    undocumented,
    unsafe,
    upward,
)

ROOT = Path(__file__).parent.parent
SOURCES = {
    file.relative_to(ROOT).as_posix(): ast.parse(file.read_text())
    for layer in LAYERS
    for file in sorted((ROOT / layer).rglob("*.py"))
    if not {"build", "__pycache__"} & set(file.parts)
}


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
            exec(f"from {package} import *")  # names are imported at their first use
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


COMMANDS = {
    "degrade": ("list", "show", "check", "fit"),
    "restore": ("list", "info", "export"),
    "samplers": ("list", "image", "folder", "generate"),
}


def test_help_waits_for_no_heavy_package():
    """Programs import packages where the work starts: torch alone takes longer than all else that help needs."""
    paths = [path for path in sorted((ROOT / "experiments").glob("*.py")) if path.stem != "__init__"]
    benches = (ROOT / "experiments" / "bench").glob("*.py")
    paths += [path for path in sorted(benches) if "__main__" in path.read_text(encoding="utf-8")]
    calls = [(str(path),) for path in paths]
    calls += [(package, *command) for package in COMMANDS for command in ((), *zip(COMMANDS[package]))]
    calls += [
        ("samplers.console", *command) for command in ((), *zip(["image", "generate", "fit", "export", "models"]))
    ]
    code = f"""if True:
        import importlib, runpy, sys
        for program, *command in {calls}:
            sys.argv = [program, *command, "--help"]
            try:
                if program.endswith(".py"):
                    runpy.run_path(program, run_name="__main__")
                elif program == "samplers.console":
                    sys.exit(importlib.import_module(program).main())
                else:
                    runpy.run_module(program, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                assert not end.code, (program, command)
            else:
                raise AssertionError((program, command))
        print("MODULES", *sys.modules)
    """
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    text, _, modules = run.stdout.partition("MODULES")
    assert text.count("usage: ") == len(calls)
    heavy = {
        "torch",
        "torchvision",
        "torchmetrics",
        "kornia",
        "matplotlib",
        "numpy",
        "pandas",
        "PIL",
        "scipy",
        "sklearn",
    }
    assert not {name.partition(".")[0] for name in modules.split()} & heavy


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


@pytest.mark.parametrize("package", LIBRARY)
def test_no_public_name_is_that_of_a_module(package):
    """Importing the module would put it in the place of what is imported at its first use."""
    modules = {file.split("/")[1].removesuffix(".py") for file in SOURCES if file.startswith(f"{package}/")}
    assert "lazy" in modules or package != "degrade"
    assert not set(importlib.import_module(package).__all__) & modules


def test_public_names_of_experiments_exist():
    assert everywhere(unbound, "experiments") == {}


def test_functions_take_six_arguments_at_most():
    assert everywhere(crowded, *LAYERS) == {}


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
    tests = [file.relative_to(ROOT).as_posix() for file in (ROOT / "tests").rglob("*.py")]
    sizes = {file: len((ROOT / file).read_text().splitlines()) for file in [*SOURCES, *tests]}
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
