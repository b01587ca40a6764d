"""Every scale is possible: its settings are valid, and trajectories are long enough for them."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.reproduce import EXPERIMENTS, SCALES
from mct.reproduce.job import ordered
from mct.reproduce.scales import scale as scale_of
from mct.settings import defaults
from mct.settings.expert import ExpertConfig


@pytest.mark.parametrize("name", SCALES)
def test_every_job_is_possible(name: str) -> None:
    """No plan ends hours later in a setting that is refused."""
    scale = SCALES[name]
    jobs = ordered(job for each in EXPERIMENTS.values() for job in each.jobs(scale, 2))
    assert {job.kind for job in jobs} >= {"experts", "convert", "distill", "test", "random", "along"}
    assert len({job.label for job in jobs}) == len(jobs)
    for job in jobs:
        settings = dict(job.settings)
        for extra in ("dataset", "model", "preprocessing", "eval_networks", "eval_epochs"):
            settings.pop(extra, None)
        if job.kind == "experts":
            ExpertConfig(**settings)
        elif job.kind == "distill" and any(each.kind in ("experts", "convert") for each in job.needs):
            config = defaults.distill_config("digits", **settings)
            experts = next(each for each in ordered([job]) if each.kind == "experts").settings
            assert config.max_start is not None
            assert config.max_start + config.expert_steps <= experts["epochs"]
            assert (config.trajectories or 0) <= experts["experts"]
        elif job.kind == "convert":
            assert max(settings["knots"]) < job.needs[0].settings["epochs"]


def test_an_unknown_scale_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(ConfigError, match="known scales: tiny, small, gpu10, paper"):
        scale_of("huge")
