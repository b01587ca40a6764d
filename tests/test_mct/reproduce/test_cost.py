"""What a plan costs: counts and bytes exactly, and times for what can be timed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from benchmarks.reproduce_kills import smallest
from mct.reproduce import EXPERIMENTS, SCALES
from mct.reproduce.cost import estimate
from mct.reproduce.job import ordered
from mct.reproduce.run import Reproduction


def test_bytes_are_those_of_the_files(finished: Reproduction) -> None:
    """Up to what is beside the weights: the manifest and the betas."""
    found = {cost.kind: cost for cost in estimate(finished.jobs)}
    (experts,) = (job for job in finished.jobs if job.kind == "experts")
    facts = finished.setting.found(experts)
    assert facts is not None
    assert found["experts"].bytes <= facts["bytes"] <= found["experts"].bytes + 20_000
    assert {kind: cost.jobs for kind, cost in found.items()} == {
        "experts": 1, "convert": 1, "distill": 4, "test": 4, "along": 1
    }  # fmt: skip


def test_every_kind_of_job_takes_time() -> None:
    """Seconds grow with the work: two seeds take twice as long as one."""
    one, two = (
        {
            cost.kind: cost.seconds
            for cost in estimate(EXPERIMENTS["table1"].jobs(smallest(), seeds))
            if cost.kind in ("random", "test")
        }
        for seeds in (1, 2)
    )
    assert one.keys() == two.keys() == {"random", "test"}
    assert all(seconds > 0 for seconds in one.values())


def test_bytes_of_the_paper() -> None:
    """100 experts of 51 timesteps on CIFAR-10: 6.53 GB, and convexified 512 MB, as figure 3(c) has it."""
    from mct.reproduce.cost import _bytes

    jobs = ordered(EXPERIMENTS["fig3"].jobs(SCALES["paper"], 1))
    sizes = {job.label.rpartition("-")[0]: _bytes(job) for job in jobs if job.kind in ("experts", "convert")}
    assert sizes["cifar10-experts"] == 100 * 51 * 320_010 * 4
    assert sizes["cifar10-knots-6-25"] == 100 * 4 * 320_010 * 4
