"""What captures tell of links and tasks, against what was written into them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from analysis.pcap.output import write as write_summary
from analysis.pcap.reader import read_capture
from analysis.pcap.show import show
from analysis.pcap.summary import summarise
from cli.main import main
from tests.analysis.captures import MSS, ping, segment, segments, task, write

TASKS = (task(5, 10_000), task(6, 0), task(7, 4000, attempt=2))
WAIT_S, RTT_S = 0.25, 0.75


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks and an empty one over c1d1>bs1, seen on both sides of its queue, and answered."""
    cut = segments(*TASKS)
    times = [100.0 + k * 0.01 for k in range(len(cut))]
    entering = [*zip(times, cut, strict=True), (101.0, ping(1))]
    # The third segment comes once more, as TCP sends it: with another IP id.
    again = segment(2 * MSS, TASKS[0][2 * MSS : 3 * MSS], ip_id=900, stamp=2000)
    entering.append((102.0, again))
    answers = [
        (t + RTT_S, segment(0, stamp=5000 + k, echo=1000 + k, ip_id=k, back=True))
        for k, t in enumerate(times)
    ]
    answers.append((101.5, ping(1, reply=True)))
    write(tmp_path / "c1d1-bs1.in.pcap", entering)
    write(tmp_path / "c1d1-bs1.pcap", [(t + WAIT_S, p) for t, p in entering])
    write(tmp_path / "bs1-c1d1.pcap", sorted(answers))
    # bs1 forwards it all to e1, but for the last packet, which its queue has no room for.
    write(tmp_path / "bs1-e1.pcap", [(t + WAIT_S + 0.5, p) for t, p in entering[:-1]])
    return tmp_path


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pcap"))


def test_links(folder: Path) -> None:
    links = {row["link"]: row for row in summarise(files(folder)).links.iter_rows(named=True)}
    uplink = links["c1d1>bs1"]
    cut = segments(*TASKS)
    wire = sum(map(len, cut)) + len(ping(1)) + len(cut[2])
    assert (uplink["packets"], uplink["bytes"]) == (len(cut) + 2, wire)
    assert uplink["entered"] == len(cut) + 2
    assert uplink["retransmitted"] == 1
    assert uplink["waits"] == len(cut) + 2
    assert uplink["wait_p50_s"] == pytest.approx(WAIT_S)
    assert uplink["rtt_p50_s"] == pytest.approx(RTT_S)
    assert uplink["ping_p50_s"] == pytest.approx(0.5)
    access = links["bs1>e1"]
    assert access["waits"] == len(cut) + 1
    assert access["wait_max_s"] == pytest.approx(0.5)
    assert access["retransmitted"] == 0


def test_tasks(folder: Path) -> None:
    flows = summarise(files(folder)).flows.filter(link="c1d1>bs1", kind="TASK").sort("task")
    assert flows["task"].to_list() == [5, 6, 7]
    assert flows["attempt"].to_list() == [1, 1, 2]
    assert flows["device"].unique().to_list() == ["device 3"]
    assert flows["payload_bytes"].to_list() == [10_032 + MSS, 32, 4032]
    assert flows["retransmitted"].to_list() == [1, 0, 0]


def test_rates_add_up(folder: Path) -> None:
    summary = summarise(files(folder))
    per_link = summary.rates.group_by("link").agg(pl.col("bytes").sum(), pl.col("packets").sum())
    for row in per_link.iter_rows(named=True):
        link = summary.links.row(by_predicate=pl.col("link") == row["link"], named=True)
        assert (row["bytes"], row["packets"]) == (link["bytes"], link["packets"])


def test_a_foreign_file_of_both_directions(tmp_path: Path) -> None:
    cut = segments(task(1, 4000))
    packets = [(10.0 + k, p) for k, p in enumerate(cut)]
    packets += [(10.5 + k, segment(0, echo=1000 + k, back=True)) for k in range(len(cut))]
    summary = summarise([write(tmp_path / "eth0 of mine.pcap", sorted(packets))])
    (row,) = summary.links.iter_rows(named=True)
    assert row["link"] == "eth0 of mine"
    assert row["rtt_p50_s"] == pytest.approx(0.5)
    assert summary.waits.is_empty()


def test_output_and_verb(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "made" / "here"
    assert main(["pcap", str(folder), "--json", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["link"] for row in told["links"]} == {"c1d1>bs1", "bs1>c1d1", "bs1>e1"}
    assert pq.read_table(out / "waits.parquet").num_rows > 10
    assert (out / "pcap.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "pcap.svg").read_text()
    assert main(["pcap", str(folder)]) == 0
    assert "c1d1>bs1" in capsys.readouterr().out


def test_nothing_but_broadcasts_is_drawn_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a-b.pcap", [(1.0, b"\xff" * 60)])
    summary = summarise([path])
    assert summary.links["packets"].to_list() == [1]
    write_summary(summary, tmp_path / "out")


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uplink = folder / "c1d1-bs1.pcap"
    text = show(read_capture(uplink), 1)
    for words in (
        "task frame",
        "kind            = TASK",
        "payload_bytes   = 10000",
        "not captured",
    ):
        assert words in text
    assert "TASK of task 5 of device 3, attempt 1" in show(read_capture(uplink), 2)
    assert main(["pcap", str(uplink), "--show", "999"]) == 2
    assert "has packets 1 to" in capsys.readouterr().err
    assert main(["pcap", str(folder), "--show", "1"]) == 2
    assert "needs one file" in capsys.readouterr().err
