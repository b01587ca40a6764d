"""What a part of the campaign knows: its settings, its time, and the file that its results go to."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

LINES = "campaign.jsonl"

sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "parity")]  # whose parts are used here


@dataclass(frozen=True, kw_only=True)
class Context:
    """The settings of a campaign, as a part sees them."""

    out: Path
    """Folder of the results."""

    work: Path
    """Folder of everything else: data, compiled code, bundles, runs."""

    device: str
    full: bool
    """Whether everything has its full size; else one for two cores of a CPU."""

    mtt: Path | None = None
    tesla: Path | None = None
    cifar10: Path | None = None
    tests: str | None = None
    """Expression for `pytest -k`: which tests of part 2 run."""

    part: int = 0
    until: float = float("inf")
    """When the part will be stopped, in seconds of the epoch."""

    @property
    def cuda(self) -> bool:
        """Whether the campaign runs on a GPU."""
        return self.device.startswith("cuda")

    @property
    def left(self) -> float:
        """Seconds until the part will be stopped."""
        return self.until - time.time()

    def emit(self, row: str, **facts: Any) -> None:
        """Write a result the moment it is there."""
        line = json.dumps({"part": self.part, "row": row, "at": round(time.time(), 3), **facts})
        with (self.out / LINES).open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def emit_failure(self, row: str, exc: Exception) -> None:
        """Write why there is no result; the other rows are not concerned."""
        self.emit(row, failed=" ".join(f"{type(exc).__name__}: {exc}".split())[:300])

    def dumps(self) -> str:
        """Return these settings as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def loads(cls, text: str) -> Context:
        """Return the context that `dumps` wrote."""
        facts = json.loads(text)
        for name in ("out", "work", "mtt", "tesla", "cifar10"):
            facts[name] = facts[name] and Path(facts[name])
        return cls(**facts)

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: an importable checkout, and caches in the work folder."""
        path = [
            str(self.work / "packages"),
            str(ROOT),
            str(ROOT / "benchmarks"),
            os.environ.get("PYTHONPATH"),
        ]
        variables = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONUNBUFFERED": "1",
            "TRAJFMT_CACHE": str(self.work / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.work / "compiled"),
            "TORCHINDUCTOR_COMPILE_THREADS": "4",  # several processes compile at once
        }
        if not self.full and not self.cuda:  # a CPU would compile for minutes; all else is as it would be
            variables["TORCH_COMPILE_DISABLE"] = "1"
        return variables


def synchronize(context: Context) -> None:
    """Wait for the device."""
    if context.cuda:
        import torch

        torch.cuda.synchronize()


def begin_anew(context: Context) -> None:
    """Give back what earlier measurements held on the device, and count its memory from here."""
    gc.collect()
    if context.cuda:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
