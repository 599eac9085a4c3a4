"""No shell strings, no secrets in the checkout, and nothing of a run that others can open."""

from __future__ import annotations

import ast
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.host import ledger as ledger_module
from emulation.host.ledger import Ledger
from tests.test_architecture import ROOMS, ROOT

SHELLS = {"sh", "bash", "dash", "/bin/sh", "/bin/bash"}
SHELL_CALLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
SCRIPT_OF_CONSTANTS = "emulation/host/capabilities.py"
"""The probe's script of commands, which has nothing of a user's in it."""
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|"
    r"\bxox[abp]-[0-9A-Za-z-]{20,}|\b(?:api[_-]?key|passw(?:or)?d|secret)\s*[:=]\s*['\"][^'\"]{8,}['\"]",
    re.IGNORECASE,
)


def modules() -> Iterator[tuple[str, ast.AST]]:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def uses_shell(node: ast.AST) -> bool:
    """Whether a call or a list of words hands a string to a shell."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        shells = [k for k in node.keywords if k.arg == "shell"]
        return name in SHELL_CALLS or any(
            not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in shells
        )
    if isinstance(node, ast.List | ast.Tuple):
        words = {e.value for e in node.elts if isinstance(e, ast.Constant)}
        return bool(words & SHELLS) and "-c" in words
    return False


@pytest.mark.parametrize(
    "text",
    ["os.system(x)", "run(x, shell=True)", "run(x, shell=y)", "['sh', '-c', x]", "os.popen(x)"],
)
def test_shells_are_recognised(text: str) -> None:
    assert any(map(uses_shell, ast.walk(ast.parse(text))))


def test_no_command_goes_through_a_shell() -> None:
    found = {name for name, tree in modules() if any(map(uses_shell, ast.walk(tree)))}
    assert found == {SCRIPT_OF_CONSTANTS}


def test_the_checkout_holds_no_secrets() -> None:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("this is no checkout of git's")
    names = [n for n in listed.stdout.decode().split("\0") if n and n != "tests/test_safety.py"]
    assert names
    texts = {
        n: (ROOT / n).read_bytes().decode(errors="replace") for n in names if (ROOT / n).is_file()
    }
    assert [name for name, text in texts.items() if SECRETS.search(text)] == []
    assert SECRETS.search("password = 'correct horse'")


def test_tokens_are_compared_in_constant_time() -> None:
    tree = ast.parse((ROOT / "controller" / "api" / "app.py").read_text())
    called = {getattr(n.func, "attr", "") for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert "compare_digest" in called
    compared = [
        ast.unparse(n)
        for _, module in modules()
        for n in ast.walk(module)
        if isinstance(n, ast.Compare) and re.search("token|credential", ast.unparse(n))
    ]
    assert [c for c in compared if "==" in c or "!=" in c] == []


def test_a_runs_own_files_are_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "RUNS_DIR", tmp_path / "runs")
    ledger = Ledger.open_new()
    try:
        assert stat.S_IMODE(ledger.directory.stat().st_mode) == 0o700
    finally:
        ledger.remove_all()
