"""The direction of the imports: bayesopt -> gp -> inference, and the rooms inside bayesopt."""

import ast
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = {"inference": set(), "gp": {"inference"}, "bayesopt": {"gp", "inference"}}
"""Each package, and the packages of ours that it may import."""

_DECLARED = {"errors", "problem"}
_KNOWN = _DECLARED | {"laws", "record"}
_MODELS = _KNOWN | {"surrogate", "acquisition", "strategies"}
ROOMS = {
    "errors": set(),
    "problem": {"errors"},
    "laws": _DECLARED,
    "record": _DECLARED,
    "output_scale": set(),
    "margin_scale": set(),
    "law_feature": _KNOWN | {"output_scale"},
    "long_history": _KNOWN,
    "warm_start": set(),
    "surrogate": _KNOWN | {"output_scale", "margin_scale", "long_history", "law_feature", "warm_start"},
    "acquisition": _KNOWN | {"surrogate"},
    "explain": _KNOWN | {"surrogate"},
    "strategies": _KNOWN | {"surrogate", "acquisition", "curve_forecast", "explain"},
    "certificate": _KNOWN | {"surrogate", "acquisition", "long_history"},
    "curve_forecast": _KNOWN | {"surrogate", "acquisition"},
    "cost_model": _KNOWN | {"surrogate", "acquisition"},
    "purse": _KNOWN | {"cost_model"},
    "admission": _KNOWN | {"strategies", "purse"},
    "declared": _KNOWN | {"strategies"},
    "judging": _MODELS | {"certificate"},
    "study": _MODELS | {"purse", "admission", "declared", "judging", "explain"},
    # these are built on the public API, which is `bayesopt` itself
    "plot": _MODELS | {"study", "bayesopt", "explain"},
    "tuners": _MODELS | {"study", "bayesopt"},
    "integrations": _MODELS | {"study", "bayesopt"},
    "testing": _MODELS | {"study", "bayesopt"},
    "web": _MODELS | {"study", "bayesopt"},
    "cli": _MODELS | {"study", "bayesopt", "plot", "tuners", "web"},
    "__main__": {"cli"},
    # the package's own __init__ exports from every room
    "bayesopt": _MODELS | {"study", "plot", "tuners", "integrations"},
}
"""Each file or folder of bayesopt/, and the other rooms that it may import."""

SPLIT = {"running": "study", "report": "study"}
"""Files that are a room's second half: they know it and it knows them, so they count as the room itself."""

LIGHT = {
    "bayesopt",
    "__main__",
    "errors",
    "problem",
    "laws",
    "record",
    "output_scale",
    "margin_scale",
    "explain",
    "strategies",
    "study",
    "plot",
    "web",
    "cli",
}
"""Rooms that work on numpy: loading them must not load torch, by whatever way round."""

TORCH = {"torch", "gpytorch", "linear_operator", "botorch", "pyro"}
"""Packages that are torch, or load it."""


def imports(source: str, package: str, *, at_load: bool = False) -> Iterator[tuple[int, str]]:
    """The line and dotted name of everything that ``source``, a module of ``package``, imports.

    ``at_load`` leaves out what loading does not run: functions, and what is under ``if TYPE_CHECKING``.
    """

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            late = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if not (at_load and (late or typing)):
                yield child
                yield from walk(child)

    for node in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from bayesopt import study` means the room, so the name imported counts as part of the path
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def room_of(name: str) -> str:
    """The room of bayesopt that ``name``, dotted, belongs to; `bayesopt` where it is the package's own."""
    part = name.split(".")[1] if "." in name else ""
    room = SPLIT.get(part, part)
    return room if room in ROOMS else "bayesopt"


def faults(source: str, module: str, package: str) -> list[str]:
    """What ``source`` imports against the direction; ``module`` is its name, ``package`` where it lives."""
    found = []
    top = module.split(".")[0]
    room = room_of(module) if top == "bayesopt" else None
    for line, name in imports(source, package):
        target = name.split(".")[0]
        if target != top and target in PACKAGES and target not in PACKAGES[top]:
            found.append(f"{module}:{line} imports {target}, which {top} must know nothing of")
        if room and target == "bayesopt" and room_of(name) not in ROOMS[room] | {room}:
            found.append(f"{module}:{line} imports {name}, but {room} must know nothing of {room_of(name)}")
    return found


def way_to_torch(module: str, sources: dict[str, tuple[str, str]]) -> list[str]:
    """The chain of imports by which loading ``module`` loads torch; empty if it does not.

    ``sources`` holds the text of each of our modules and the package that its relative imports start from.
    """
    ways, seen = [[module]], {module}
    for way in ways:
        for _, name in imports(*sources[way[-1]], at_load=True):
            if name.split(".")[0] in TORCH:
                return [*way, name]
            # importing a.b.c runs a and a.b as well; c may be a name within a.b
            prefixes = accumulate(name.split("."), "{}.{}".format)
            new = [prefix for prefix in prefixes if prefix in sources and prefix not in seen]
            seen.update(new)
            ways.extend([*way, prefix] for prefix in new)
    return []


def modules(top: str) -> Iterator[tuple[str, str, str]]:
    """The source of every file of ``top``, its dotted name, and the package of its relative imports."""
    for path in sorted((ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        inside = path.name == "__init__.py"
        yield path.read_text("utf-8"), ".".join(parts[:-1] if inside else parts), ".".join(parts[:-1])


@pytest.mark.parametrize("top", PACKAGES)
def test_every_import_goes_down(top):
    found = [fault for file in modules(top) for fault in faults(*file)]
    assert not found, "\n".join(found)


def test_every_file_of_bayesopt_is_in_a_known_room():
    parts = {module.split(".")[1] for _, module, _ in modules("bayesopt") if "." in module}
    unknown = sorted(parts - ROOMS.keys() - SPLIT.keys())
    assert not unknown, f"nobody knows what {unknown} of bayesopt may import: add them to ROOMS in {__file__}"


def test_the_light_rooms_load_without_torch():
    sources = {module: (source, package) for top in PACKAGES for source, module, package in modules(top)}
    light = [module for module in sources if module.startswith("bayesopt") and room_of(module) in LIGHT]
    found = [" -> ".join(way) for module in light if (way := way_to_torch(module, sources))]
    assert not found, "import torch, or what loads it, in the function that needs it:\n" + "\n".join(found)


def test_the_rooms_themselves_have_no_cycle():
    """Takes away, again and again, the rooms that need only what was taken; the public API is free to all."""
    left = {room: needs - {"bayesopt"} for room, needs in ROOMS.items()}
    while free := {room for room, needs in left.items() if not needs & left.keys()}:
        left = {room: needs for room, needs in left.items() if room not in free}
    assert not left, f"these rooms import one another in a circle: {sorted(left)}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("inference.mcmc", "import gp.kernels"),
        ("gp.paths", "def late():\n    from bayesopt import Space"),
        ("bayesopt.problem.space", "from bayesopt.record import trial"),
        ("bayesopt.problem.space", "from ..study import Study"),
        ("bayesopt.record.trial", "from bayesopt import study"),
        ("bayesopt.record.trial", "from bayesopt import Study"),
        ("bayesopt.laws.step", "from bayesopt.record.history import History"),
        ("bayesopt.surrogate", "from bayesopt.acquisition.primitives import log_h"),
        (
            "bayesopt.strategies.base",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bayesopt.study",
        ),
        ("bayesopt.study", "from bayesopt import cli"),
        ("bayesopt.report", "from bayesopt import plot"),
    ],
)
def test_an_import_against_the_direction_is_found(module, source):
    assert faults(source, module, module.rpartition(".")[0])


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gp.models.exact", "from inference import laplace\nfrom ..linalg.cholesky import safe_cholesky"),
        (
            "bayesopt.problem.space",
            "import numpy\nfrom bayesopt.errors import InvalidSpaceError\nfrom .priors import x",
        ),
        ("bayesopt.study", "def ask():\n    from bayesopt.surrogate import recommend"),
        ("bayesopt.study", "def run():\n    from bayesopt.running import run"),
        ("bayesopt.running", "from bayesopt.study import Study"),
        ("bayesopt.tuners.solver", "import bayesopt as bo\nfrom bayesopt import Study"),
        ("bayesopt.surrogate", "from gp.models.exact import ExactGP"),
    ],
)
def test_an_import_with_the_direction_passes(module, source):
    assert not faults(source, module, module.rpartition(".")[0])


@pytest.mark.parametrize(
    ("source", "heavy"),
    [
        ("import torch", True),
        ("try:\n    from torch import nn\nexcept ImportError:\n    pass", True),
        ("class Late:\n    import pyro.infer", True),
        ("from bayesopt import surrogate", True),
        ("from bayesopt.strategies.base import Strategy", True),
        ("import numpy", False),
        ("def ask():\n    import torch\n    from bayesopt.surrogate import recommend", False),
        ("if TYPE_CHECKING:\n    import torch", False),
    ],
)
def test_the_way_to_torch_is_found_where_there_is_one(source, heavy):
    texts = {
        "bayesopt": "import importlib",
        "bayesopt.strategies": "from . import base",
        "bayesopt.strategies.base": "from gp.models import ExactGP",
        "bayesopt.surrogate": "import botorch.models",
        "gp.models": "from gpytorch import kernels",
        "bayesopt.study": source,
    }
    packages = {"bayesopt": "bayesopt", "bayesopt.strategies": "bayesopt.strategies"}
    sources = {name: (text, packages.get(name, name.rpartition(".")[0])) for name, text in texts.items()}
    assert bool(way_to_torch("bayesopt.study", sources)) == heavy
