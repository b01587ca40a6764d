"""The GPU campaign on a CPU at its small size: every part, every row, and whatever may end it early."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = ROOT / "benchmarks" / "gpu" / "campaign.py"
WITHOUT_A_CHECKOUT = re.compile(r"needs a checkout: --(mtt|tesla) PATH")


def command(out: Path, *words: object) -> list[str]:
    """Return the command line of a small campaign."""
    return [
        sys.executable,
        str(CAMPAIGN),
        "--out",
        str(out),
        "--scale",
        "tiny",
        "--device",
        "cpu",
        *map(str, words),
    ]


def run(out: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a small campaign."""
    return subprocess.run(
        command(out, *words), capture_output=True, text=True, timeout=1800, check=False, cwd=out.parent
    )


def sections(records: str) -> dict[int, dict[str, str]]:
    """Return the table of each part: label to text."""
    found: dict[int, dict[str, str]] = {}
    for line in records.splitlines():
        if match := re.match(r"## Part (\d)", line):
            rows = found[int(match[1])] = {}
        elif line.startswith("| ") and not line.startswith(("| | |", "| ---")):
            label, text = line.strip("|").split("|")
            rows[label.strip()] = text.strip()
    return found


def test_every_part_runs_to_its_end_and_every_row_has_a_result(tmp_path: Path) -> None:
    """The table is printed and written, line by line results are kept, and a second run merges into it."""
    everything = ("--parts", "1,2,3,4,5,6", "--seconds", "1700")
    done = run(tmp_path / "out", *everything)  # on a machine with nothing else to do it needs 45
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out" / "RECORDS-gpu.md").read_text()
    table = sections(text)
    assert sections(done.stdout) == table
    assert table.keys() == {1, 2, 3, 4, 5, 6}
    assert sum(map(len, table.values())) == 9 + 15 + 4 + 6 + 6 + 8
    for rows in table.values():
        for label, result in rows.items():
            assert "no result" not in result, label
            assert "failed" not in result, f"{label}: {result}"
            assert ("MTT" in label or "TESLA" in label) or not WITHOUT_A_CHECKOUT.match(result), label
    lines = [json.loads(line) for line in (tmp_path / "out" / "campaign.jsonl").read_text().splitlines()]
    assert {line["part"] for line in lines} == {1, 2, 3, 4, 5, 6}
    assert (tmp_path / "out" / "paper-ipc1.png").read_bytes().startswith(b"\x89PNG")

    again = run(tmp_path / "out", "--parts", "1")
    assert again.returncode == 0, again.stderr
    merged = (tmp_path / "out" / "RECORDS-gpu.md").read_text()
    assert merged.partition("## Part 2")[2] == text.partition("## Part 2")[2]
    assert sections(merged)[1].keys() == table[1].keys()
    after = [json.loads(line) for line in (tmp_path / "out" / "campaign.jsonl").read_text().splitlines()]
    assert [line for line in after if line["part"] > 1] == [line for line in lines if line["part"] > 1]


def test_part_that_fails_ends_neither_the_others_nor_the_table(tmp_path: Path) -> None:
    """The exit code is 1, the section says how it ended, and its rows are there without a result."""
    done = subprocess.run(
        [*command(tmp_path / "out", "--parts", "1,5"), "--device", "abacus"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    table = sections(done.stdout)
    assert table.keys() == {1, 5}
    assert "failed after" in done.stdout
    assert "abacus" in done.stdout
    assert table[5].pop("images") == "digits, as published"
    assert set(table[5].values()) == {"no result before the part ended"}


def test_part_is_stopped_when_its_time_is_over(tmp_path: Path) -> None:
    """Its rows say so, the next part runs all the same, and nothing of it goes on."""
    done = run(tmp_path / "out", "--parts", "3,5", "--seconds", "7")  # two seconds: torch is hardly imported
    assert done.returncode == 1, done.stdout
    table = sections(done.stdout)
    assert set(table[3].values()) == {"no result before the part ended"}
    assert table.keys() == {3, 5}
    assert done.stdout.count("stopped after") == 2
    assert not children_of(tmp_path)


def test_interrupted_campaign_prints_what_it_has(tmp_path: Path) -> None:
    """Ctrl-C ends all processes; the table is there, and the exit code says it."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(out, "--parts", "1,5"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        lines = (out / "campaign.jsonl").read_text() if (out / "campaign.jsonl").exists() else ""
        if "convolution tf32" in lines:
            break
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stdout
    assert sections(stdout)[1]["device"]
    assert not children_of(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parts", "7"], "expected numbers from 1 to 6"),
        (["--mtt", "."], "no distill.py; expected a checkout of the reference"),
        (["--cifar10", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(words, message: str, tmp_path: Path) -> None:
    """With exit code 2, and nothing written."""
    done = run(tmp_path / "out", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def children_of(place: Path) -> list[str]:
    """Return the command lines of processes that still work for a campaign in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "--child" in line and str(place) in line:
                found.append(line)
    return found
