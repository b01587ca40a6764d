"""Settings of DD-Ranking's protocol: defaults, and what is refused."""

import pytest

from mct.errors import ConfigError
from mct.settings.ranking import RankingConfig, ReferenceConfig, ranking_config, reference_config


def test_defaults_of_a_dataset() -> None:
    """Given values win over those of the dataset, which win over the published ones; None is not given."""
    assert ranking_config("CIFAR10") == RankingConfig()
    assert ranking_config("digits").epochs == 300
    assert ranking_config("digits", epochs=7, loss=None).epochs == 7
    assert reference_config("CIFAR10") == ReferenceConfig()
    assert reference_config("Tiny").step_size == 50


def test_a_short_reference_also_divides_its_rate() -> None:
    """After half of the epochs that are given."""
    assert reference_config("CIFAR10", epochs=9).step_size == 4
    assert reference_config("CIFAR10", epochs=1).step_size == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runs": 0}, "`runs`"),
        ({"rates": ()}, "`rates`"),
        ({"rates": (0.1, 0.0)}, "`rates`"),
        ({"temperature": float("nan")}, "`temperature`"),
        ({"weight": 1.5}, "`weight` must be from 0 to 1, got 1.5"),
        ({"loss": "mse"}, "`loss` must be one of sce, kl, mse_gt"),
        ({"schedule": "linear"}, "`schedule`"),
        ({"labels": "none"}, "`labels`"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str) -> None:
    """The error has the name, the range and the value."""
    with pytest.raises(ConfigError, match=message):
        RankingConfig(**values)


def test_values_of_the_reference_out_of_range() -> None:
    """As those of the protocol."""
    with pytest.raises(ConfigError, match="`epochs` must be from 1"):
        ReferenceConfig(epochs=0)
    with pytest.raises(ConfigError, match="`lr`"):
        ReferenceConfig(lr=-1.0)
