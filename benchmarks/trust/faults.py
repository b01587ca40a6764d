"""What the commands do when the system fails them.

Small commands run in forked processes, in which a preloaded library (`shim.c`) makes system calls fail:

    errors      every call that concerns the command's files fails once, with each error that it may have
                (with `--quick`: one of them); from each read or write on, all do half of what was asked
    kills       SIGKILL before and after each call, and at random moments
    disks       disks that are full at each write, and those of every size that is too small: bytes counted
                by the library and, for root, pages of a tmpfs

After each trial: the process was ended by no signal but ours; it left no traceback; its exit code is a
documented one, with one line that says why; exit 0 only with the complete result, and not if a call failed
that was to make it durable; otherwise what was there is unchanged; and the same command, run again, gives
the bytes of an undisturbed run, or says that they are there.

    python benchmarks/trust/faults.py [--quick] [--share 1/10] [--only errors,kills,disks]
        [--commands NAME,NAME]

Needs gcc and Linux. `--share 1/10` does every tenth trial. It exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import errno
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.trust.commands import COMMANDS, Command, contents, make_material  # noqa: E402
from benchmarks.trust.processes import compiled, environment  # noqa: E402

KINDS = {
    "open": 1,
    "read": 2,
    "write": 4,
    "fsync": 8,
    "rename": 16,
    "unlink": 32,
    "mkdir": 64,
    "truncate": 128,
    "allocate": 256,
    "link": 512,
    "close": 1024,
    "map": 2048,
    "list": 4096,
    "stat": 8192,
}
EVERY = sum(KINDS.values())
CHANGES = EVERY - KINDS["read"] - KINDS["stat"] - KINDS["list"] - KINDS["map"]
FAIL, KILL, KILL_AFTER, SHORT, FULL = 1, 2, 3, 4, 5
ERRORS = {
    "open": ("EIO", "EMFILE", "ENOSPC", "EACCES", "ENOMEM"),
    "read": ("EIO", "ENOMEM"),
    "write": ("EIO", "ENOSPC", "EDQUOT", "EFBIG"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT"),
    "rename": ("EIO", "ENOSPC", "EACCES"),
    "unlink": ("EIO", "EACCES", "EROFS"),
    "mkdir": ("EIO", "ENOSPC", "EACCES"),
    "truncate": ("EIO", "ENOSPC", "EFBIG"),
    "allocate": ("EIO", "ENOSPC", "EOPNOTSUPP"),
    "link": ("EIO", "ENOSPC", "EPERM"),
    "close": ("EIO", "ENOSPC", "EDQUOT"),
    "map": ("ENOMEM", "EACCES"),
    "list": ("EIO", "ENOMEM", "EACCES"),
    "stat": ("EIO", "EACCES"),
}
CODES = (0, 1, 2, 3, 4, 5, 130)
NOTHING = {"kinds": EVERY, "nth": -1, "action": 0, "number": 0}


@dataclass
class Tally:
    """What was tried, and what was wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Server:
    """The process that forks a child for each trial."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._output = folder / "output"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.trust.server", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(compiled(folder)),
        )

    def run(self, command: Command, folder: Path, fault: dict[str, int], **more: Any) -> dict[str, Any]:
        """Run a command in a folder; return its exit code, what it printed, and what the library counted."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"words": command.line(folder), "prefix": str(folder), "fault": fault, **more}
        self._process.stdin.write(json.dumps({**order, "output": str(self._output)}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Trials:
    """The trials of one command."""

    def __init__(self, server: Server, command: Command, folder: Path, material: Path, tally: Tally) -> None:
        self._server, self._command, self._material, self._tally = server, command, material, tally
        self._folder = folder
        self.memory = 0
        """Largest resident memory of any process in bytes."""

        self.fresh()
        if command.warm:
            server.run(command, folder, NOTHING, here=True)
            self.fresh()
        self._before = contents(folder / command.makes) if command.over else None
        start = time.perf_counter()
        done = server.run(command, folder, NOTHING)
        self.seconds = time.perf_counter() - start
        if done["code"]:
            raise SystemExit(f"{command.name} fails undisturbed: {done['text']}")
        self.calls: dict[str, int] = dict(zip(KINDS, done["calls"], strict=False))
        self._inputs = self._found_inputs()
        self._expected = contents(folder / command.makes) if command.makes else None

    def fresh(self) -> None:
        """Empty the folder, and put the inputs there."""
        self._folder.mkdir(exist_ok=True)
        for entry in self._folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._command.prepare(self._material, self._folder)

    def _found_inputs(self) -> Any:
        return [contents(self._folder / name) for name in self._command.needs if name != self._command.makes]

    def run(self, fault: dict[str, int] = NOTHING, **more: Any) -> dict[str, Any]:
        """Run the command."""
        return self._server.run(self._command, self._folder, fault, **more)

    def trial(self, group: str, what: str, fault: dict[str, int], **more: Any) -> Any:
        """Run the command with a fault and again without, note what is wrong, and return its exit code."""
        self.fresh()
        done = self.run(fault, **more)
        self.memory = max(self.memory, done.get("memory", 0))
        self.judge(group, what, done)
        return done["code"]

    def kill_at_random(self, times: int) -> None:
        """Kill the command at moments of its whole duration."""
        chance = random.Random(0)
        for number in range(times):
            self.trial(
                "kills",
                f"killed at random {number}",
                NOTHING,
                kill_after=chance.uniform(0, self.seconds),
            )

    def judge(self, group: str, what: str, done: dict[str, Any]) -> None:
        """Note everything that is wrong after a disturbed run."""
        self._tally.tried[group] += 1
        self._tally.hit[group] += bool(done["hit"]) or "kill" in group or "disks" in group

        def wrong(text: str) -> None:
            said = done["text"].strip().splitlines()
            self._tally.wrong.append(f"{self._command.name}, {what}: {text} | {said[-1] if said else ''}")
            print("  " + self._tally.wrong[-1], flush=True)

        code, killed = done["code"], done["code"] == -9 and group == "kills"
        if "Traceback" in done["text"]:
            wrong("traceback")
        if not killed and code not in CODES:
            wrong(f"ended with {code}")
        errors = [
            line for line in done["text"].splitlines() if line.startswith("error:") or line.endswith("]")
        ]
        if not killed and code and "Traceback" not in done["text"] and not errors:
            wrong(f"exit {code} without a reason")
        if self._found_inputs() != self._inputs:
            wrong("an input has changed")
        if self._command.makes:
            self._judge_result(wrong, done, what, killed=killed)

    def _judge_result(self, wrong: Any, done: dict[str, Any], what: str, *, killed: bool) -> None:
        path = self._folder / self._command.makes
        found = contents(path)
        complete = found == self._expected
        if self._command.grows:
            complete = complete or (killed or bool(done["code"]))  # file by file: the rerun decides
        elif done["code"] and not complete and self._seen(found) != self._seen(self._before):
            wrong("a part of the result is there")
        elif done["code"] and complete and not killed:
            wrong("failed, but the result is there")
        if done["code"] == 0 and not complete:
            wrong("exit 0 without the complete result")
        if done.get("loose"):
            wrong("bytes that are not durable got a final name")
        if done["code"] == 0 and done["hit"] == KINDS["fsync"] and "fsync" in what:
            wrong("exit 0, but the result is not durable")
        again = self.run()
        there = complete and not self._command.grows
        said = "exists" in again["text"] or "duplicate" in again["text"]
        if "Traceback" in again["text"]:
            wrong("the rerun leaves a traceback")
        elif again["code"] and not (there and said):
            wrong(f"the rerun refuses: {again['text'].strip().splitlines()[-1]}")
        if contents(path) != self._expected:
            wrong("the rerun gives other bytes")
        left = [name for name in os.listdir(self._folder) if name.endswith(".partial")]
        if self._command.grows:
            left = [name for name in os.listdir(path) if name.endswith(".partial")]
        if left:
            wrong(f"the rerun leaves {left}")

    def _seen(self, found: dict[str, bytes] | None) -> dict[str, bytes] | None:
        """Return what readers see of a bundle: not the files that its manifest does not list."""
        if found is None or "manifest.json" not in found:
            return found
        listed = {entry["path"] for entry in json.loads(found["manifest.json"])["files"]}
        return {name: data for name, data in found.items() if name in listed | {"manifest.json"}}


def errors(trials: Trials, *, quick: bool) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Yield a trial for each call and each error, and for each read and write that does only a half."""
    for kind, mask in KINDS.items():
        for nth in range(1, trials.calls[kind] + 1):
            names = ERRORS[kind]
            for name in (names[nth % len(names)],) if quick else names:
                fault = {"kinds": mask, "nth": nth, "action": FAIL, "number": getattr(errno, name)}
                yield f"{kind}", f"{name} from {kind} {nth}", fault
            if kind in ("read", "write"):
                fault = {"kinds": mask, "nth": nth, "action": SHORT, "number": 0}
                yield f"short {kind}", f"short {kind}s from {nth}", fault


def kills(trials: Trials, *, quick: bool) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Yield a trial for each call before and after which the process is killed; with `quick`, one of them."""
    fault = {**NOTHING, "kinds": CHANGES}
    for nth in range(1, sum(trials.calls[kind] for kind in KINDS if KINDS[kind] & CHANGES) + 1):
        moments = ((KILL, "before"), (KILL_AFTER, "after"))
        for action, word in (moments[nth % 2],) if quick else moments:
            yield "kills", f"killed {word} change {nth}", {**fault, "nth": nth, "action": action}


def counted_disks(trials: Trials, share: tuple[int, int]) -> None:
    """Run the command on disks that take ever more bytes, counted by the library, until it succeeds."""
    for size in range(0, 2**20, 1536 * share[1] // share[0]):
        fault = {"kinds": EVERY, "nth": 1, "action": FULL, "number": size}
        if trials.trial("disks, counted", f"{size} bytes free", fault) == 0:
            return


def full_disks(trials: Trials, share: tuple[int, int]) -> None:
    """Run the command on a disk that is full from the nth write on, for each n."""
    for nth in range(2, trials.calls["write"] + 1, share[1] // share[0]):
        fault = {"kinds": EVERY, "nth": nth, "action": FULL, "number": 2**40}
        trials.trial("disks, full at a write", f"full at write {nth}", fault)


def mounted_disks(trials: Trials, mount: Path, share: tuple[int, int]) -> None:
    """Run the command on a tmpfs of ever more pages, until it succeeds."""
    for size in range(0, 2**20, mmap.PAGESIZE * share[1] // share[0]):
        trials.fresh()
        state = os.statvfs(mount)
        used = (state.f_blocks - state.f_bfree) * state.f_bsize
        _resize(mount, max(used + size, mmap.PAGESIZE))  # size 0 would be no limit at all
        done = trials.run()
        _resize(mount, 2**26)
        trials.judge("disks, tmpfs", f"{size} bytes free", done)
        if done["code"] == 0:
            return


def _resize(mount: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", mount], check=True)


def mounted(folder: Path) -> Path | None:
    """Mount a tmpfs, and return its folder; None where this is not allowed."""
    mount = folder / "disk"
    mount.mkdir()
    if os.geteuid():
        return None
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={2**26}", "tmpfs", mount], capture_output=True, check=False
    )
    return mount if done.returncode == 0 else None


def campaign(
    only: set[str], names: set[str], share: tuple[int, int], folder: Path, *, quick: bool = False
) -> Tally:
    """Run all trials, and print a line for each command."""
    tally = Tally()
    material = folder / "material"
    make_material(material)
    servers: dict[bool, Server] = {}
    mount = mounted(folder) if "disks" in only else None
    number = 0
    try:
        for command in COMMANDS:
            if names and command.name not in names:
                continue
            start, before = time.perf_counter(), len(tally.wrong)
            tried = tally.tried.total()
            if command.torch not in servers:  # a fork without torch is quicker
                servers[command.torch] = Server(folder, *["torch"] * command.torch)
            server = servers[command.torch]
            trials = Trials(server, command, folder / "work", material, tally)
            for group in (errors, kills):
                if group.__name__ not in only or (group is kills and not command.makes):
                    continue
                for kind, what, fault in group(trials, quick=quick):
                    number += 1
                    if number % share[1] < share[0]:
                        trials.trial(kind, what, fault)
            if command.makes and "kills" in only:
                trials.kill_at_random(30 * share[0] // share[1])
            if command.makes and "disks" in only:
                counted_disks(trials, share)
                full_disks(trials, share)
            if command.makes and mount is not None:
                mounted_disks(Trials(server, command, mount / "work", material, tally), mount, share)
                shutil.rmtree(mount / "work")
            print(
                f"{command.name:20} {tally.tried.total() - tried:6} trials,"
                f" {len(tally.wrong) - before} wrong,"
                f" {time.perf_counter() - start:.0f} s",
                flush=True,
            )
    finally:
        for server in servers.values():
            server.close()
        if mount is not None:
            subprocess.run(["umount", mount], check=True)
    return tally


def main() -> None:
    """Run the campaign, print everything that is wrong, and what was tried."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", default="1/1", help="do a share of the trials, such as 1/10")
    parser.add_argument("--quick", action="store_true", help="one error, and one kill, for each call")
    parser.add_argument("--only", default="errors,kills,disks", help="groups of trials")
    parser.add_argument("--commands", default="", help="names of commands, such as append,export")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing stays mounted
    some, whole = map(int, options.share.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        names = set(filter(None, options.commands.split(",")))
        tally = campaign(
            set(options.only.split(",")), names, (some, whole), Path(folder).resolve(), quick=options.quick
        )
    print(f"\n{'':20} {'tried':>6} {'reached':>8}")
    for kind in sorted(tally.tried):
        print(f"{kind:20} {tally.tried[kind]:6} {tally.hit[kind]:8}")
    print(f"{'all':20} {tally.tried.total():6} {tally.hit.total():8}\n{len(tally.wrong)} wrong")
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
