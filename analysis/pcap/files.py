"""Finds captures in folders, and the files of one capture that its writer rotated.

tcpdump's ``-C`` and ``-W`` put a number behind the name, ``-G`` a time into it; dumpcap, Wireshark
and editcap put both into it. Files that differ in nothing else, in one folder, are one capture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.pcap.source import COMPRESSED_SUFFIXES, STDIN, looks_like_a_capture
from model.errors import UserError

_ENDING = re.compile(r"\.(?:pcapng|pcap|ntar|cap|dmp|dump|trc|trace)(?=[.\d]|$)", re.IGNORECASE)
_NUMBER_BEHIND = re.compile(r"[._-]?(\d+)")
_NUMBERS_WITHIN = (
    # dumpcap, Wireshark and editcap: number and time, in either order
    re.compile(r"_(?P<number>\d{5})_\d{14}$"),
    re.compile(r"_\d{14}_(?P<number>\d{5})$"),
    # tcpdump -G: what strftime makes of the name, of 1970 to 2099; and seconds since 1970
    re.compile(
        r"[-_.]?(?P<number>(?:19[7-9]\d|20\d\d)[-_.]?[01]\d[-_.]?[0-3]\d"
        r"[-_.T ]?[0-2]\d[-_.:h]?[0-5]\d"
        r"(?:[-_.:m]?[0-6]\d)?)(?:Z|[+-]\d{4})?$"
    ),
    re.compile(r"[-_.]?(?P<number>\d{10})$"),
    re.compile(r"[-_.](?P<number>[0-2]\d[-_.:]?[0-5]\d[-_.:]?[0-5]\d)$"),
    # PcapPlusPlus and others: numbers with zeros in front
    re.compile(r"[-_.](?P<number>0\d{3,5})$"),
)
_LOOKS_LIKE_A_NAME = re.compile(r"\.(?:pcapng|pcap|cap)\d*(?:\.\w+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class CaptureFiles:
    """The files of one capture, in the order of their numbers; mostly there is one.

    Attributes:
        files: these.
        stem: their name without numbers and endings.
        named: the user named each file, instead of a folder.
    """

    files: tuple[Path, ...]
    stem: str
    named: bool = True

    @property
    def folder(self) -> Path:
        """The folder that they lie in."""
        return self.files[0].parent

    @property
    def name(self) -> str:
        """The file, or of several the first and how many more."""
        more = f" (and {len(self.files) - 1} more)" if len(self.files) > 1 else ""
        return f"{self.files[0]}{more}"


def find_captures(paths: Sequence[Path]) -> tuple[list[CaptureFiles], list[str]]:
    """The captures among files as given and in folders, and notes on what was left out.

    Of a result folder those in its ``pcap/`` are taken, of another folder all below it that begin
    like a capture. Raises ``UserError`` for a folder without one, and a path that does not exist.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if path == STDIN or not path.is_dir():
            files.append(path)
            continue
        inside = path / "pcap" if (path / "manifest.json").is_file() else path
        found = sorted(_within(inside, notes))
        if not found:
            hint = "; ask a run for some with --pcap LINK" if inside != path else ""
            why = f" ({'; '.join(notes[:3])})" if notes else ""
            raise UserError(f"{path}: holds no capture{hint}{why}")
        files += found
    unique = list({_identity(f): f for f in reversed(files)}.values())[::-1]
    named = {p for p in paths if p == STDIN or not p.is_dir()}
    grouped = _grouped(unique, notes)
    return [replace(c, named=named.issuperset(c.files)) for c in grouped], notes


def _identity(path: Path) -> str:
    return str(path) if path == STDIN else os.path.realpath(path)


def _within(folder: Path, notes: list[str]) -> Iterator[Path]:
    """Files below a folder that begin like captures; notes on those that only have the name."""

    def failed(error: OSError) -> None:
        notes.append(f"{error.filename}: left out, it cannot be read: {error.strerror}")

    for above, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for path in (Path(above, name) for name in sorted(names) if not name.startswith(".")):
            try:
                if not path.is_file():
                    continue  # neither a pipe, which would block, nor a link to nowhere
                if looks_like_a_capture(path):
                    yield path
                elif _LOOKS_LIKE_A_NAME.search(path.name):
                    why = "is empty" if path.stat().st_size == 0 else "is no pcap or pcapng file"
                    notes.append(f"{path}: left out, it {why}")
            except OSError as error:
                notes.append(f"{path}: left out, it cannot be read: {error.strerror or error}")


def split_name(name: str) -> tuple[str, str, int | None]:
    """A file name without its numbers, its ending, and the number that orders rotated files.

    ``ring.pcap12.gz`` → ``("ring", ".pcap", 12)``; without a number None.
    """
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    stem, ending, number = name, "", ""
    endings = list(_ENDING.finditer(name))
    if endings:
        behind = name[endings[-1].end() :]
        found = _NUMBER_BEHIND.fullmatch(behind)
        if not behind or found:
            stem, ending = name[: endings[-1].start()], endings[-1][0].lower()
            number = found[1] if found else ""
    elif found := re.fullmatch(r"(.*?[^\d._-])[._-]?(\d+)", name):
        stem, number = found[1], found[2]
    for pattern in _NUMBERS_WITHIN:
        if match := pattern.search(stem):
            # Behind a time stands the number of the file within that time (tcpdump -G -C).
            number = re.sub(r"\D", "", match["number"]) + (number.zfill(6) if number else "000000")
            stem = stem[: match.start()]
            break
    return stem, ending, int(number[:40]) if number else None


def _grouped(files: Sequence[Path], notes: list[str]) -> Iterator[CaptureFiles]:
    """Files that differ in their numbers only, in the order of the first of each."""
    groups: dict[tuple[Path, str, str], dict[int, Path]] = {}
    for path in files:
        if path == STDIN or not path.is_file():
            # Of a pipe, /dev/fd/63 say, the number means nothing.
            groups[path, "", ""] = {0: path}
            continue
        stem, ending, number = split_name(path.name)
        group = groups.setdefault((path.parent, stem, ending), {})
        # tcpdump -C gives the first file no number.
        key = -1 if number is None else number
        before = group.setdefault(key, path)
        if before != path:
            plain, packed = sorted((before, path), key=lambda p: p.suffix in COMPRESSED_SUFFIXES)
            group[key] = plain
            notes.append(f"{packed}: left out, {plain.name} beside it has the same name")
    for (path, stem, _), numbered in groups.items():
        ordered = tuple(numbered[k] for k in sorted(numbered))
        if path == STDIN or not stem:
            stem = "standard input" if path == STDIN else ordered[0].name
        elif len(ordered) == 1:
            # A number that orders nothing is a part of the name.
            stem = _without_ending(ordered[0].name)
        yield CaptureFiles(ordered, stem)


def _without_ending(name: str) -> str:
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    endings = list(_ENDING.finditer(name))
    return name[: endings[-1].start()] if endings and endings[-1].start() else name
