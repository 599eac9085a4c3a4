"""Captures of one name are kept apart, files that a writer rotated are put together."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from analysis.pcap.output import write as write_summary
from analysis.pcap.summary import summarise
from cli.main import main
from model.errors import UserError
from tests.analysis.captures import MSS, ping, segment, segments, task, write


def run_folder(folder: Path, begin_s: float, wait_s: float, speedup: float | None = None) -> Path:
    """A folder of one run: the same five segments through one queue, and a ping."""
    (folder / "pcap").mkdir(parents=True)
    frames = [(begin_s + k * 0.1, f) for k, f in enumerate(segments(task(1, 5 * MSS - 32)))]
    frames.append((begin_s + 1, ping(1)))
    write(folder / "pcap" / "bs1-e1.in.pcap", frames)
    write(folder / "pcap" / "bs1-e1.pcap", [(t + wait_s, f) for t, f in frames])
    answers = [
        (t + 3 * wait_s, segment(0, echo=1000 + k, back=True)) for k, (t, _) in enumerate(frames)
    ]
    write(folder / "pcap" / "e1-bs1.pcap", answers)
    return folder


def test_two_runs_with_links_of_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [run_folder(tmp_path / "r" / n, 1e9 + b, w) for n, b, w in
               (("one", 0, 0.25), ("two", 5000, 0.5))]  # fmt: skip
    files = sorted(f for folder in folders for f in folder.glob("pcap/*.pcap"))
    alone = [
        summarise([folder]).links.filter(link="bs1>e1").row(0, named=True) for folder in folders
    ]
    for paths in (files, folders, [tmp_path / "r"], files[::-1]):
        summary = summarise(paths)
        links = summary.links.filter(link="bs1>e1").sort("wait_p50_s").to_dicts()
        assert len(links) == 2
        for row, right in zip(links, alone, strict=True):
            same = [c for c in row if c not in ("run", "capture")]
            assert {c: row[c] for c in same} == pytest.approx({c: right[c] for c in same})
        assert [row["rtt_p50_s"] for row in links] == pytest.approx([0.75, 1.5])
        assert summary.rates.group_by("capture").len()["len"].len() == 4
        assert set(summary.link_names().values()) == {
            "one/pcap: bs1>e1", "one/pcap: e1>bs1", "two/pcap: bs1>e1", "two/pcap: e1>bs1"
        }  # fmt: skip
    write_summary(summary, tmp_path / "out")
    assert main(["pcap", *map(str, files), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len({(row["capture"], row["link"]) for row in told["links"]}) == 4


def test_the_same_foreign_capture_of_two_hosts(tmp_path: Path) -> None:
    frames = [(1e9 + k, f) for k, f in enumerate(segments(task(1, 3000)))]
    for host in ("alpha", "beta"):
        (tmp_path / host).mkdir()
        write(tmp_path / host / "eth0.pcap", frames)
    links = summarise([tmp_path]).links
    assert links["retransmitted"].to_list() == [0, 0]
    assert links["link"].to_list() == ["eth0", "eth0"]
    assert links["capture"].n_unique() == 2


NAMES = {
    "-C": lambda k: "trace.pcap" + (str(k) if k else ""),
    "-W 5": lambda k: f"trace.pcap{k}",
    "-W 12": lambda k: f"trace.pcap{k + 6:02d}",
    ".cap": lambda k: f"trace.cap{k}",
    "-G": lambda k: f"trace-20260921-14{k:02d}20.pcap",
    "-G, dashes": lambda k: f"trace_2026-09-21_14:{k:02d}:20.pcap",
    "-G %s": lambda k: f"trace.{1_790_000_000 + k}.pcap",
    "dumpcap": lambda k: f"trace_{k + 1:05d}_2026092114132{k}.pcap",
    "nametimenum": lambda k: f"trace_2026092114132{k}_{k + 1:05d}.pcap",
    "no ending": lambda k: f"trace{k}",
    "logrotate": lambda k: f"trace.pcap.{5 - k}",
    "gzip": lambda k: f"trace.pcap{k}.gz",
    "wrapped ring": lambda k: f"trace.pcap{(k + 2) % 5}",
}


def rotated(folder: Path, name: str) -> None:
    """Five files of a connection, one packet of which comes twice, in two files."""
    folder.mkdir()
    frames = segments(task(1, 20 * MSS - 32))
    frames[10] = frames[2]
    for k in range(5):
        part = [(1e9 + i, frames[i]) for i in range(4 * k, 4 * k + 4)]
        path = write(folder / NAMES[name](k), part)
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize("name", NAMES)
def test_rotated_files_are_one_capture(tmp_path: Path, name: str) -> None:
    for host in ("alpha", "beta"):
        rotated(tmp_path / host, name)
    files = list((tmp_path / "alpha").iterdir())
    random.Random(1).shuffle(files)
    for paths, captures in (([tmp_path / "alpha"], 1), (files, 1), ([tmp_path], 2)):
        summary = summarise(paths)
        assert summary.links["packets"].to_list() == [20] * captures
        assert summary.links["retransmitted"].to_list() == [1] * captures
        assert sum("5 files" in n and "read as one" in n for n in summary.notes) == captures


def test_files_that_are_no_rotation_stay_apart(tmp_path: Path) -> None:
    write(tmp_path / "run1.pcap", [(1.0, ping(1)), (2.0, ping(2))])
    write(tmp_path / "run2.pcap", [(5.0, ping(1)), (6.0, ping(2))])
    # Names of one pattern, but a day between them.
    write(tmp_path / "day-20260921-080000.pcap", [(1e9, ping(1)), (1e9 + 1, ping(2))])
    write(tmp_path / "day-20260922-080000.pcap", [(1e9 + 86400, ping(1)), (1e9 + 86401, ping(2))])
    links = summarise([tmp_path]).links
    assert links["packets"].to_list() == [2] * 4
    assert links["mean_mbps"].n_unique() == 1


def test_what_a_folder_holds_besides_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.pcap0", [(1.0, ping(1)), (2.0, ping(2))])
    (tmp_path / "trace.pcap1").write_bytes(b"")
    (tmp_path / "other.pcap").write_text("no capture")
    (tmp_path / "README").write_text("nor this, and it has no such name")
    (tmp_path / "trace.pcap0.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "cut.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(8))
    summary = summarise([tmp_path])
    assert summary.links["packets"].to_list() == [2]
    text = "\n".join(summary.notes)
    for words in ("trace.pcap1: left out, it is empty", "other.pcap: left out, it is no pcap",
                  "trace.pcap0.gz: left out", "cut.pcapng: is truncated"):  # fmt: skip
        assert words in text
    assert "README" not in text
    with pytest.raises(UserError, match="is empty"):
        summarise([tmp_path / "trace.pcap1"])
