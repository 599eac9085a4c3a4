"""Change one operator, number or call at a time, and list the changes that no test notices.

Run ``./lab python tools/mutate.py [--most N] [--seed S] [MODULE ...]``. The checkout stays as it
is: mutants are written into a temporary copy of it. A module runs the tests that are named after
it. They fork from one process, which has loaded their libraries. Many mutants are sampled by seed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = [f"metrics/{name}.py" for name in ("summary", "statistics", "audit", "fidelity")]
MODULES += ["emulation/orchestrator/reports.py"]
MODULES += [
    f"model/{name}.py" for name in ("compute", "cost", "events", "clips", "link_row", "network")
]
PAIRS = "Lt LtE, Gt GtE, Eq NotEq, In NotIn, Is IsNot, Add Sub, Mult Div, And Or, BitAnd BitOr"
PAIRS += ", min max, any all, minimum maximum, floor ceil"
SWAPS = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])}


def swapped(op: ast.AST) -> ast.AST | None:
    """Return the operator that takes an operator's place, if there is one."""
    name = SWAPS.get(type(op).__name__)
    return getattr(ast, name)() if name else None


def of_operators(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield (field, new value) for changes of an operator or of what it is applied to."""
    match node:
        case ast.Compare(ops=ops):
            changes = [(k, swapped(op)) for k, op in enumerate(ops)]
            yield from (("ops", [*ops[:k], new, *ops[k + 1 :]]) for k, new in changes if new)
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if new := swapped(op):
            yield "op", new
        case ast.UnaryOp(op=ast.Not() | ast.Invert() as op):
            yield "operand", ast.UnaryOp(op, node.operand)
        case ast.UnaryOp(op=ast.USub()):
            yield "op", ast.UAdd()
        case ast.If() | ast.While() | ast.IfExp():
            yield "test", ast.UnaryOp(ast.Not(), node.test)


def of_values(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield (field, new value) for changes of a number, a name, a result, a call, a jump."""
    match node:
        case ast.Constant(value=bool() as value):
            yield "value", not value
        case ast.Constant(value=int() | float() as value):
            few = not value or (isinstance(value, int) and abs(value) < 1000)
            step = 1 if few else type(value)(value / 2)
            yield from (("value", value + step), ("value", value - step))
        case ast.Name(id=name) if name in SWAPS:
            yield "id", SWAPS[name]
        case ast.Attribute(attr=name) if name in SWAPS:
            yield "attr", SWAPS[name]
        case ast.Return(value=ast.expr()) | ast.Expr(value=ast.Call()):
            yield "value", ast.Constant(None)
        case ast.If(body=body) | ast.For(body=body) | ast.While(body=body):
            jumps = [k for k, s in enumerate(body) if isinstance(s, ast.Break | ast.Continue)]
            yield from (("body", [*body[:k], ast.Pass(), *body[k + 1 :]]) for k in jumps)


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs: no annotations, no decorators, nothing that only names a type."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or getattr(node, "arg", "") in (
            "strict",
            "dtype",
        ):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from nodes(part)


def sources(text: str) -> list[tuple[str, str]]:
    """Return (what is changed, source) of all mutants of a module, in a fixed order."""
    tree = ast.parse(text)
    found = []
    for node in nodes(tree):
        for field, value in (*of_operators(node), *of_values(node)):
            old, before = getattr(node, field), ast.unparse(node).splitlines()
            setattr(node, field, value)
            ast.fix_missing_locations(tree)
            after = ast.unparse(node).splitlines()
            for a, b in zip(before, after, strict=False):
                if a != b:
                    what = f"{getattr(node, 'lineno', 0)}: {a.strip()}  →  {b.strip()}"
                    found.append((what, ast.unparse(tree)))
                    break
            setattr(node, field, old)
    return found


def passes(copy: Path, tests: list[str], limit_s: float) -> bool:
    """Run tests in a fork of this process, within a time limit; return whether all passed."""
    if not (child := os.fork()):
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for stream in (1, 2):
            os.dup2(os.open(copy / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        flags = ["-qx", "-p", "no:cacheprovider", "-p", "no:xdist"]
        flags += ["--hypothesis-seed=0", "--hypothesis-profile=quick"]
        code = import_module("pytest").main([*flags, *tests])
        files = {name: str(getattr(m, "__file__", "")) for name, m in sys.modules.items()}
        others = [name for name, file in files.items() if "site-packages" in file]
        (copy / "libraries").write_text("\n".join(others))
        os._exit(int(code))
    ends, done = time.monotonic() + limit_s, (0, 0)
    try:
        while not done[0] and time.monotonic() < ends:
            time.sleep(0.02)
            done = os.waitpid(child, os.WNOHANG)
    finally:
        if not done[0]:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return done == (child, 0)


def examine(copy: Path, module: str, most: int, seed: int) -> None:
    """Print the mutants of a module that its tests let live, and how many they killed."""
    file, begun = copy / module, time.monotonic()
    folder = copy / "tests" / Path(module).parts[0]
    tests = [str(p.relative_to(copy)) for p in sorted(folder.rglob(f"test_{file.stem}*.py"))]
    text = file.read_text(encoding="utf-8")
    found = sources(text)
    chosen = sorted(random.Random(seed).sample(range(len(found)), min(most, len(found))))
    sys.dont_write_bytecode = False
    if not tests or not passes(copy, tests, 600):
        sys.exit(
            f"{module}: its tests {tests} fail without a mutant:\n{(copy / 'log').read_text()}"
        )
    limit_s, live = 3 * (time.monotonic() - begun) + 10, 0
    for name in (copy / "libraries").read_text().splitlines():
        with contextlib.suppress(Exception):
            import_module(name)
    sys.dont_write_bytecode = True
    for what, source in (found[k] for k in chosen):
        for old in file.parent.glob(f"__pycache__/{file.stem}.*"):
            old.unlink()
        file.write_text(source, encoding="utf-8")
        if passes(copy, tests, limit_s):
            live += 1
            sys.stdout.write(f"  {module}:{what}\n")
            sys.stdout.flush()
    file.write_text(text, encoding="utf-8")
    counts = f"{len(chosen)} of {len(found)} mutants, {len(chosen) - live} killed, {live} live"
    sys.stdout.write(f"{module}: {counts}, {time.monotonic() - begun:.0f} s\n")
    sys.stdout.flush()


def main() -> None:
    """Copy the checkout, and examine the modules asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("--most", type=int, default=40, help="mutants of a module (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the copy goes
    hypothesis = import_module("hypothesis")
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # no failure is made small
    hypothesis.settings.register_profile("quick", phases=phases, database=None)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        listed = subprocess.check_output(
            ["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, text=True
        )
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, Path(folder, name))
        os.environ |= {"PYTHONPATH": folder, "NUMBA_CACHE_DIR": f"{folder}/numba"}
        sys.path[:] = [folder, *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        os.chdir(folder)
        for module in asked.modules:
            examine(Path(folder), module, asked.most, asked.seed)


if __name__ == "__main__":
    main()
