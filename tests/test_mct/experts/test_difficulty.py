"""Where the order of the images comes from, what is recorded of it, and runs that train with it."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.data.difficulty import digest, ordered  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.experts import difficulty, el2n  # noqa: E402
from mct.experts.curriculum import SCHEDULE  # noqa: E402
from mct.experts.run import ExpertRun  # noqa: E402
from tests.helpers.experts import run_of, stop_after  # noqa: E402
from tests.helpers.folders import contents  # noqa: E402
from tests.helpers.threads import in_ranks  # noqa: E402


def scored(path: Path, digits: Dataset, seed: int = 0) -> tuple[Path, np.ndarray]:
    """Return a file of random scores."""
    scores = np.random.default_rng(seed).random(len(digits.train_labels))
    np.save(path, scores)
    return path, scores


@pytest.mark.parametrize(("given", "message"), [
    (("pad", None, None), "`curriculum` pad needs the difficulty of the images"),
    (("pad", None, "a.mct"), "`curriculum` pad needs the difficulty of the images"),
    (("pad", "el2n", None), "`scores` el2n are computed from the experts of a bundle"),
    (("pad", "a.npy", "a.mct"), "`scores_from` is for `scores` el2n, but `scores` is a.npy"),
    ((None, "a.npy", None), "`scores` has no effect without `curriculum`"),
    ((None, None, "a.mct"), "`scores_from` has no effect without `curriculum`"),
])  # fmt: skip
def test_what_does_not_belong_together(digits: Dataset, given: tuple, message: str) -> None:
    """Nothing that is given is silently left unused."""
    curriculum, scores, scores_from = given
    with pytest.raises(ConfigError) as caught:
        difficulty.chosen(curriculum, digits, scores=scores, scores_from=scores_from)
    assert message in str(caught.value)


def test_bundle_records_score_schedule_and_hash(tmp_path: Path, digits: Dataset) -> None:
    """And a run with the scores of another file is another run."""
    path, scores = scored(tmp_path / "scores.npy", digits)
    order = ordered(torch.from_numpy(scores), digits.train_labels, 10)
    settings = {"curriculum": "pad", "scores": path, "experts": 2}
    run = run_of(tmp_path / "a.mct", **settings)
    stop_after(run, 1)
    for _ in run_of(tmp_path / "a.mct", **settings).events():
        pass
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        recipe = bundle.provenance.recipe or {}
    assert {key: recipe[key] for key in recipe if key.startswith(("curriculum", "scores"))} == {
        "curriculum": "pad", "curriculum_schedule": SCHEDULE, "scores": "scores.npy",
        "scores_sha256": digest(order),
    }  # fmt: skip
    other = run_of(
        tmp_path / "c.mct", **settings | {"scores": scored(tmp_path / "b.npy", digits, 1)[0]}
    )._job()
    assert other.identity != run._job().identity
    plain = run_of(tmp_path / "b.mct")._job()
    assert "curriculum" not in (plain.provenance.recipe or {})


def test_all_processes_use_the_order_of_the_first(tmp_path: Path) -> None:
    """Scores are computed once, where rounding could differ, and the bundle is that of one process."""
    bundle = tmp_path / "experts.mct"
    for _ in run_of(bundle, epochs=10, experts=1).events():
        pass
    asked: list[int] = []

    def work(ranks, name: str) -> None:
        run = ExpertRun.prepare(
            "digits", tmp_path / name, model="ConvNetD1W4", ranks=ranks, experts=2, epochs=2, batch_size=500,
            augment="none", curriculum="pad", scores="el2n", scores_from=bundle,
        )  # fmt: skip
        original = run.difficulty.order
        counted = type("Counted", (), {
            "facts": run.difficulty.facts, "order": lambda _: asked.append(ranks.rank) or original(),
        })()  # fmt: skip
        object.__setattr__(run, "difficulty", counted)
        for _ in run.events():
            pass

    assert in_ranks(lambda ranks: work(ranks, "many.mct")) == [None, None]
    assert in_ranks(lambda ranks: work(ranks, "one.mct"), size=1) == [None]
    assert asked == [0, 0]
    assert contents(tmp_path / "many.mct") == contents(tmp_path / "one.mct")
    with trajfmt.open(tmp_path / "one.mct") as trained:
        assert (trained.provenance.recipe or {})["scores_timestep"] == el2n.TIMESTEP
