"""What a recipe may be made of."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
from mct.errors import ConfigError
from mct.learned.updates import Adam, Averaged, Halved, Sgd
from mct.methods.recipe import Recipe, updates_of
from mct.objectives.matching import TrajectoryMatching
from mct.settings.config import DistillConfig


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"updates": {"image": Sgd(1.0)}}, "must be of images, learning_rate, labels, got one of 'image'"),
        ({"updates": {"images": Adam}}, r"must be one such as Sgd\(0.1\), got <class"),
        ({"updates": {"images": 3}}, "got 3"),
        (
            {"settings": {"inner_step": 3}},
            "'inner_step', which is no setting of a distillation; did you mean inner_steps",
        ),
        ({"objective": 3}, "must be a class of objectives"),
    ],
)
def test_what_is_no_part_of_a_method_is_refused(parts, words: str) -> None:
    """When the recipe is made, in one line."""
    with pytest.raises(ConfigError, match=words):
        Recipe(name="wrong", **parts)
    with pytest.raises(ConfigError, match=r"`decay` must be at least 0 and less than 1, got 1\.9"):
        Averaged(Sgd(1.0), 1.9)


def test_nothing_that_is_given_is_without_effect() -> None:
    """A setting for which the method has its own update is refused, and so are updates of labels that are not
    learned."""
    recipe = Recipe(name="mine", updates={"images": Adam(0.1), "labels": Sgd(2.0)})
    learned = DistillConfig(labels="learned")
    recipe.check(learned, ["ipc", "labels", "momentum", "lr_lr"])
    for setting in ("lr_img", "image_average", "lr_label", "label_momentum"):
        with pytest.raises(
            ConfigError, match=f"`{setting}` has no effect with the method mine, which updates"
        ):
            recipe.check(learned, ["ipc", setting])
    with pytest.raises(ConfigError, match="updates labels, which needs `labels` learned, got 'hard'"):
        recipe.check(DistillConfig())
    plain = Recipe(name="plain")
    for setting, config in (
        ("lr_label", DistillConfig()), ("drop_by", DistillConfig()), ("label_time", learned),
        ("scores", DistillConfig()), ("skip_hardest", DistillConfig()),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"`{setting}` has no effect without"):
            plain.check(config, [setting])
    plain.check(DistillConfig(labels="learned", drop=0.5), ["lr_label", "label_momentum", "drop_by"])
    own = Recipe(name="own", objective=TrajectoryMatching)
    with pytest.raises(ConfigError, match="`label_momentum` has no effect with `outer_optimizer` adam"):
        plain.check(DistillConfig(labels="learned", outer_optimizer="adam"), ["label_momentum"])
    for setting in ("end", "drop", "drop_by", "start_noise"):
        with pytest.raises(
            ConfigError, match=f"`{setting}` has no effect with the objective of the method own"
        ):
            own.check(DistillConfig(drop=0.5), [setting])
    whole = Recipe(name="whole", updates={"images": Adam(0.1), "learning_rate": Sgd(0.1)})
    with pytest.raises(ConfigError, match="`momentum` has no effect"):
        whole.check(learned, ["momentum"])
    whole.check(learned, ["outer_optimizer"])  # of the labels
    with pytest.raises(ConfigError, match="`outer_optimizer` has no effect"):
        whole.check(DistillConfig(), ["outer_optimizer"])


def test_updates_are_what_the_settings_say() -> None:
    """Adam is for images and labels, and never for the learning rate; halving is inside of an average."""
    config = DistillConfig(
        labels="learned", outer_optimizer="adam", lr_img=0.1, lr_img_halving=3, image_average=0.9, lr_label=2,
        lr_lr=1e-3, momentum=0.25,
    )  # fmt: skip
    assert updates_of(config) == {
        "images": Averaged(Halved(Adam(0.1), 3), 0.9), "learning_rate": Sgd(1e-3, 0.25), "labels": Adam(2.0),
    }  # fmt: skip
