"""The rules of this house that no linter knows; run as a script it prints what breaks them and exits 1."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE_LINES, FUNCTION_LINES = 300, 40
REASON = "over budget because"  # a file that says so at its top may be longer
ARRAY_LIBRARIES = re.compile(r"^\s*(?:import|from)\s+(cupy|torch|jax|numba|mlpx_\w+)\b", re.MULTILINE)
COMPAT = re.compile(r"^\s*(?:import|from)\s+array_api_compat\b", re.MULTILINE)
CREATION = {"zeros", "ones", "empty", "full", "arange", "linspace", "eye"}  # asarray of a device array keeps its place
EQUATIONS = ("ops", "losses", "optim", "layers", "random")
NAMES_NOT_WANTED = re.compile(r"^(utils?|helpers?|managers?|misc|common)\.py$")


def source_files() -> list[Path]:
    """The library and its backends."""
    return sorted([*(ROOT / "mlpx").rglob("*.py"), *(ROOT / "backends").rglob("*.py")])


def findings(path: Path) -> Iterator[str]:
    """What in a file breaks a rule."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    tree = ast.parse(text)
    if NAMES_NOT_WANTED.match(path.name):
        yield f"{name}: name the file after what it holds"
    if text.count("\n") > MODULE_LINES and REASON not in (ast.get_docstring(tree) or ""):
        yield f"{name}: {text.count(chr(10))} lines; the budget is {MODULE_LINES}"
    for function, length in function_lengths(tree):
        if length > FUNCTION_LINES and REASON not in (ast.get_docstring(tree) or ""):
            yield f"{name}:{function.lineno}: {function.name} has {length} lines; the budget is {FUNCTION_LINES}"
    yield from undocumented_parameters(name, tree)
    if name.parts[0] == "mlpx":
        for match in ARRAY_LIBRARIES.finditer(text):
            yield f"{name}: imports {match[1]}; array libraries belong in backends/"
        if COMPAT.search(text) and path.name != "namespace.py":
            yield f"{name}: imports array_api_compat; only namespace.py does"
        if name.parts[1] in EQUATIONS or name.name in ("step.py", "network.py", "parameters.py"):
            yield from unplaced_creations(name, tree)


def function_lengths(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Every function and its length without docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                first = node.body[0]
                assert first.end_lineno is not None
                length -= first.end_lineno - first.lineno + 1
            yield node, length


def unplaced_creations(name: Path, tree: ast.Module) -> Iterator[str]:
    """Calls xp.zeros(...) and the like that do not say dtype and device."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in CREATION and isinstance(node.func.value, ast.Name) and node.func.value.id == "xp":
            given = {keyword.arg for keyword in node.keywords}
            if "dtype" not in given or not ({"device", None} & given):
                yield f"{name}:{node.lineno}: xp.{node.func.attr} must state dtype and device (placed_as)"


def undocumented_parameters(name: Path, tree: ast.Module) -> Iterator[str]:
    """Docstrings with a Parameters section that leave a parameter out, or name one that is not there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            makers = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
            if not makers:
                continue  # a dataclass, or a parent's
            arguments = makers[0].args
        elif isinstance(node, ast.FunctionDef):
            arguments = node.args
        else:
            continue
        documented = documented_parameters(ast.get_docstring(node) or "")
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        taken = {one.arg for one in given if one is not None} - {"self", "cls"}
        if documented and documented != taken:
            yield f"{name}:{node.lineno}: {node.name} documents {sorted(documented)}, takes {sorted(taken)}"


def documented_parameters(docstring: str) -> set[str]:
    """The names in a docstring's Parameters section; empty where there is none."""
    lines = docstring.splitlines()
    if "Parameters" not in lines:
        return set()
    start = lines.index("Parameters") + 2
    underlines = (place for place, line in enumerate(lines[start:], start) if line and set(line) == {"-"})
    section = lines[start : next(underlines, len(lines) + 1) - 1]
    named = (line.partition(" : ")[0] for line in section if line and not line.startswith(" "))
    return {one.strip().lstrip("*") for names in named for one in names.split(",")}


def main() -> int:
    """Print all findings."""
    said = [finding for path in source_files() for finding in findings(path)]
    print("\n".join(said) if said else f"house rules: {len(source_files())} files keep them")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
