"""A run again, from its manifest: what is to be run, and what is no longer as it was.

Any process may call it; it runs nothing. ``cli.rerun`` carries out what it returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emulation.judged import HandedIn
from model.errors import UserError
from model.scenario import Scenario
from records.provenance import code_sha256, git_state, package_versions
from records.reader import Result

_SIMULATOR_PACKAGES = ("numpy", "networkx", "numba")
_DESCRIPTIVE = ("pyyaml", "torch", "pettingzoo", "pyarrow", "pydantic")
"""Packages that read, write or train: they decide nothing in a run."""
_SHORT = 10


@dataclass(frozen=True, slots=True)
class Repetition:
    """A run as it was asked for.

    Attributes:
        result: the run that is repeated.
        scenario: as it was resolved then.
        policy, params, seed, speedup: as then; ``params`` names the same checkpoint.
        world: ``emulation`` or ``simulation``.
        options: further keyword arguments of ``emulation.options.RunOptions``; of the emulation.
    """

    result: Result
    scenario: Scenario
    policy: str
    params: dict[str, Any]
    seed: int
    world: Literal["emulation", "simulation"]
    speedup: float
    options: dict[str, Any]

    @property
    def origin(self) -> dict[str, object]:
        """What the new manifest says of the run that it repeats."""
        run_id = self.result.manifest.get("run_id")
        return {"repeats": {"run_id": run_id, "folder": str(self.result.folder.absolute())}}


def repetition_of(result: Result) -> Repetition:
    """Return what a result's run was. Raises ``UserError`` for one that cannot be repeated."""
    manifest = result.manifest
    options = manifest.get("options") or {}
    if options.get("stepped") or "late_steps" in manifest:
        raise UserError(
            f"{result.folder}: a program decided in this run, slot by slot (emulation.env), which "
            "its manifest does not have; run that program again"
        )
    world = manifest["world"]
    return Repetition(
        result=result,
        scenario=result.scenario,
        policy=manifest["policy"],
        params=dict(manifest.get("policy_params") or {}),
        seed=manifest["seed"],
        world=world,
        speedup=manifest["speedup"],
        options=_emulation_options(manifest) if world == "emulation" else {},
    )


def _emulation_options(manifest: Mapping[str, Any]) -> dict[str, Any]:
    options = manifest.get("options") or {}
    # Before there were options in manifests, what was captured says what was asked for.
    captured = dict.fromkeys(one["link"] for one in manifest.get("captures") or ())
    found = {
        "openflow": manifest.get("openflow", "ryu"),
        "without_netem": bool(manifest.get("without_netem", False)),
        "pcap": tuple(options.get("pcap", captured)),
    }
    return found | {k: options[k] for k in ("pcap_snaplen", "pcap_size_mb") if k in options}


def differences(wanted: Repetition) -> list[str]:
    """Return what decides the run and is not as it was, or not known to be, a phrase each."""
    manifest = wanted.result.manifest
    return [
        *_code(manifest, wanted.world),
        *_policy(manifest, wanted),
        *_packages(manifest, wanted.world),
    ]


def _code(manifest: Mapping[str, Any], world: Literal["emulation", "simulation"]) -> Iterator[str]:
    then, now = manifest.get("git") or {}, git_state() or {}
    recorded = manifest.get("code_sha256")
    if recorded == code_sha256(world):
        return
    same_commit = then.get("commit") and then.get("commit") == now.get("commit")
    clean = then.get("dirty") is False and now.get("dirty") is False
    if recorded is None and same_commit and clean:
        return
    yield f"code: {_version(then)} then, {_version(now)} now"


def _version(git: Mapping[str, Any]) -> str:
    commit = git.get("commit")
    changed = " with changes" if git.get("dirty") else ""
    return f"commit {str(commit)[:_SHORT]}{changed}" if commit else "unknown version"


def _policy(manifest: Mapping[str, Any], wanted: Repetition) -> Iterator[str]:
    """Yield what differs in the policy's own file, what its parameters name, and beside it."""
    then = manifest.get("policy_files") or manifest.get("judged")
    own = ":" in wanted.policy or "checkpoint" in wanted.params
    if not then:
        if own:
            yield f"policy: the manifest has no hash of the files of {wanted.policy}"
        return
    try:
        now = HandedIn.of(wanted.policy, wanted.params)
    except UserError as error:
        yield f"policy: {error}"
        return
    for path, digest in then.get("sha256", {}).items():
        if not Path(path).is_file():
            yield f"policy: {path} is not there"
        elif now.files.get(path) != digest:
            yield _changed(path, digest, now.files)
    if then.get("folder_sha256", "") != now.folder_sha256:
        yield "policy: a Python file in its folder has changed"


def _changed(path: str, digest: str, files: Mapping[str, str]) -> str:
    if path not in files:
        return f"policy: {path} is not what {', '.join(files) or 'the lab'} stands for here"
    name = "checkpoint" if path.endswith(".npz") else "policy"
    return f"{name}: {path} has SHA-256 {digest[:_SHORT]} then, {files[path][:_SHORT]} now"


def _packages(manifest: Mapping[str, Any], world: str) -> Iterator[str]:
    then, now = manifest.get("packages") or {}, package_versions()
    decisive = _SIMULATOR_PACKAGES if world == "simulation" else set(then) - set(_DESCRIPTIVE)
    for name in sorted(decisive):
        if name in then and then[name] != now.get(name):
            yield f"{name}: {then[name]} then, {now.get(name, 'none')} now"
