"""What readers rely on in a manifest: its entries and their types; entries beyond these may be any.

A manifest may come from anywhere, so whoever reads it first holds it against this once; everybody
else then takes ``Result.manifest`` at its word.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.aliases import Value
from model.random_streams import MAX_SEED

Finite = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Speedup = Annotated[float, Field(gt=0, le=1e6)]


class _Entries(BaseModel):
    model_config = ConfigDict(strict=True)


class _Check(_Entries):
    name: str
    ok: bool | None
    text: str


class _Fidelity(_Entries):
    verdict: str
    valid: bool
    checks: list[_Check] = []


class _Clocks(_Entries):
    begin_unix_s: float
    monotonic_s: float
    wall_s: float


class _Git(_Entries):
    commit: str | None = None
    dirty: bool | None = None


class _Machine(_Entries):
    memory_bytes: Finite = 0.0


class _Capture(_Entries):
    file: Annotated[str, Field(pattern=r"^pcap/[^/]+$")]
    side: str
    captured: int
    dropped_by_kernel: int
    link: str


class _PolicyFiles(_Entries):
    sha256: dict[str, str] = {}
    folder_sha256: str = ""


class _Options(_Entries):
    pcap: list[str] = []
    pcap_snaplen: int = 128
    pcap_size_mb: int = 200
    stepped: bool = False


class Manifest(_Entries):
    """The entries of a manifest that are read."""

    scenario: dict[str, Any]
    policy: str
    policy_params: dict[str, Value] = {}
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    world: Literal["emulation", "simulation"]
    speedup: Speedup
    exit_status: int | None = None
    complete: bool | None = None
    ran_s: Finite | None = None
    error: str | None = None
    write_error: str | None = None
    run_id: str | None = None
    started_utc: str | None = None
    ended_utc: str | None = None
    command_line: list[str] = []
    command: str | None = None
    code_sha256: str | None = None
    policy_files: _PolicyFiles | None = None
    options: _Options | None = None
    packages: dict[str, str | None] = {}
    contradictions: int = 0
    git: _Git | None = None
    machine: _Machine | None = None
    fidelity: _Fidelity | None = None
    clocks: _Clocks | None = None
    captures: list[_Capture] = []
    nodes: dict[str, dict[str, float | None]] = {}


def complaint(manifest: dict[str, Any]) -> str:
    """The first thing that is wrong with a manifest's entries, in words; '' if nothing is."""
    if manifest.get("seed", 0) is None and manifest.get("judged"):
        return "seed: not published: this judged run has not ended, or was killed"
    try:
        Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:80]
        return f"{where}: {first['msg'][:200]}"
    return ""
