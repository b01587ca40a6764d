"""Tensors of every kind: read in logical order, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.planning import plan
from trajfmt.errors import CorruptError

torch = pytest.importorskip("torch")
from tests.helpers.replay import expert, refused, run, save, stack  # noqa: E402


def test_parameters_instead_of_tensors_convert(tmp_path: Path) -> None:
    """`nn.Parameter` comes back with requires_grad; its values are all that matters."""
    content = [[[torch.nn.Parameter(x) for x in step] for step in expert(0)]]
    destination, _ = run(save(tmp_path / "src", content).parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(np.stack(list(bundle[0].rows())), stack(expert(0)))


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_strided_tensors_are_read_in_logical_order(tmp_path: Path, suffix: str) -> None:
    """Channels-last and transposed tensors give the elements that `reshape(-1)` gives, not memory order."""
    content = [
        [
            torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(t)).to(
                memory_format=torch.channels_last
            ),
            torch.randn(6, 4, generator=torch.Generator().manual_seed(90 + t)).t(),
        ]
        for t in range(3)
    ]
    destination, _ = run(save(tmp_path / "src", [content]).parent, suffix)
    expected = np.stack([np.concatenate([x.reshape(-1).numpy() for x in step]) for step in content])
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(bundle[0].at(0), expected[0])
        assert np.array_equal(bundle[0].at(2), expected[2])


def test_views_of_one_storage_are_no_aliases(tmp_path: Path) -> None:
    """All timesteps as views of one big tensor share a storage at other offsets: legal, values exact."""
    theta = torch.randn(5, 20, generator=torch.Generator().manual_seed(3))
    content = [[[row[:12].view(4, 3), row[12:16], row[16:].view(2, 2)] for row in theta]]
    destination, _ = run(save(tmp_path / "src", content).parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(np.stack(list(bundle[0].rows())), theta.numpy())


@pytest.mark.parametrize("name", ["float16", "float64"])
@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_other_precisions_keep_their_bits(tmp_path: Path, name: str, suffix: str) -> None:
    """float16 and float64 buffers stay what they are."""
    content = expert(0, dtype=getattr(torch, name))
    destination, _ = run(save(tmp_path / "src", [content]).parent, suffix)
    with trajfmt.open(destination) as bundle:
        assert bundle[0].at(4).dtype == np.dtype(name)
        assert np.array_equal(bundle[0].at(4), stack(content)[-1])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x, i: x.half() if i else x, id="mixed in a timestep"),
        pytest.param(lambda x, _i: x.to(torch.int64), id="integers"),
        pytest.param(lambda x, _i: x.to(torch.complex64), id="complex"),
        pytest.param(lambda x, _i: x > 0, id="booleans"),
    ],
)
def test_unsupported_types_are_refused_by_name(tmp_path: Path, make: Callable[[Any, int], Any]) -> None:
    """Types that the format lacks, and mixtures, are refused, naming what was found."""
    content = [[[make(x, i) for i, x in enumerate(step)] for step in expert(0)]]
    kind = str(content[0][0][0].dtype).removeprefix("torch.")
    assert kind in str(refused(save(tmp_path / "src", content), "mixed_dtypes"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_arrives_bit_for_bit(tmp_path: Path, kind: str, zipped: bool) -> None:
    """16-bit weights keep their type and their bits, whether torch reads the file or not."""
    content = [expert(0, dtype=getattr(torch, kind))]
    path = save(tmp_path / "src", content, _use_new_zipfile_serialization=zipped)
    destination, _ = run(path.parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        for t, step in enumerate(content[0]):
            found = np.ascontiguousarray(bundle[0].at(t)).view(np.int16)
            assert np.array_equal(found, torch.cat([x.reshape(-1) for x in step]).view(torch.int16).numpy())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda x: x.to_sparse(), "timestep 0, tensor 0: the tensor is sparse", id="sparse"),
        pytest.param(lambda x: x.to("meta"), "the tensor is without numbers", id="meta"),
        pytest.param(
            lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
            "the tensor is quantised",
            id="quantised",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own, on quantised tensors
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_that_are_not_plain_are_named(
    tmp_path: Path, make: Callable[[Any], Any], words: str, zipped: bool
) -> None:
    """They are sound, so the error says what they are, by timestep and tensor: exit 1."""
    content = [[[make(x) for x in step] for step in expert(0)]]
    path = save(tmp_path / "src", content, _use_new_zipfile_serialization=zipped)
    assert words in str(refused(path, "nothing_to_convert"))


def test_lazily_negated_tensors_are_refused(tmp_path: Path) -> None:
    """torch has stored numbers other than those that the tensor shows."""
    path = save(tmp_path / "src", [[[torch.complex(x, x).conj().imag for x in step] for step in expert(0)]])
    assert "got a lazily negated or conjugated view" in str(refused(path, "source_invalid"))


def test_a_small_file_cannot_stand_for_terabytes(tmp_path: Path) -> None:
    """An expanded tensor may repeat its numbers, but not to more than 1000 times the bytes of the file."""
    content = [[[torch.full((1,), float(t)).expand(2**41)] for t in range(3)]]
    for zipped, words in ((True, "1000 times the file"), (False, "claims 2199023255552 elements")):
        path = save(tmp_path / "src", content, _use_new_zipfile_serialization=zipped)
        assert words in str(refused(path, "source_invalid"))
        with pytest.raises(CorruptError, match=words):
            plan(path, tmp_path / "out.mct")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_expanded_tensors_have_all_their_numbers(tmp_path: Path, zipped: bool) -> None:
    """A stride of 0 repeats what is stored once."""
    content = [
        [[torch.tensor([[1.0 + t], [t]]).expand(2, 3), torch.tensor(2.0 * t).expand(4)] for t in range(3)]
    ]
    path = save(tmp_path / "src", content, _use_new_zipfile_serialization=zipped)
    destination, _ = run(path.parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        assert bundle[0].at(2).tolist() == [3, 3, 3, 2, 2, 2, 4, 4, 4, 4]
