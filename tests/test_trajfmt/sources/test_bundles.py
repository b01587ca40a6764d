"""Bundles as sources: to the other encoding, to another codec, damaged and repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import files, flat, run, save, theta  # noqa: E402


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
@pytest.mark.parametrize("knots", [(), (3,)])
def test_detour_over_full_equals_the_direct_way(tmp_path: Path, codec: Any, knots: tuple[int, ...]) -> None:
    """.pt -> .mtt -> .mct has the files of .pt -> .mct, byte for byte."""
    source = save(tmp_path / "src", [theta(1), theta(2, 6)])
    run(source, tmp_path / "direct.mct", knots=knots)
    run(source, tmp_path / "full.mtt", codec=codec)
    run(tmp_path / "full.mtt", tmp_path / "detour.mct", knots=knots)
    direct, detour = files(tmp_path / "direct.mct"), files(tmp_path / "detour.mct")
    del direct["manifest.json"], detour["manifest.json"]
    assert direct == detour


def test_full_recoded_and_back_is_the_same_bundle(tmp_path: Path) -> None:
    """none -> archive -> zstd -> none loses no bit."""
    run(save(tmp_path / "src", [theta(1), theta(2, 19)]), tmp_path / "a.mtt")
    run(tmp_path / "a.mtt", tmp_path / "b.mtt", codec="archive")
    run(tmp_path / "b.mtt", tmp_path / "c.mtt", codec="zstd")
    run(tmp_path / "c.mtt", tmp_path / "d.mtt")
    first, last = files(tmp_path / "a.mtt"), files(tmp_path / "d.mtt")
    del first["manifest.json"], last["manifest.json"]
    assert first == last


def test_convex_to_full_is_the_discretised_line(tmp_path: Path) -> None:
    """.mct -> .mtt holds the line at whole timesteps, and export writes the same."""
    from trajfmt.export.run import export

    run(save(tmp_path / "src", [theta(1), theta(2, 5)]), tmp_path / "a.mct")
    run(tmp_path / "a.mct", tmp_path / "b.mtt")
    with trajfmt.open(tmp_path / "a.mct") as convex, trajfmt.open(tmp_path / "b.mtt") as full:
        export(convex, tmp_path / "back")
        found = torch.load(tmp_path / "back" / "replay_buffer_0.pt")
        for line, item, steps in zip(convex, full, found, strict=True):
            for t in range(line.timesteps):
                assert np.array_equal(line.at(t), item.at(t))
                assert np.array_equal(line.at(t), torch.cat([x.reshape(-1) for x in steps[t]]).numpy())


def test_damaged_bundle_as_source_is_refused(tmp_path: Path) -> None:
    """A flipped byte in a .mtt that is converted is found by its hash; nothing is published."""
    run(save(tmp_path / "src", [theta(1), theta(2)]), tmp_path / "a.mtt")
    victim = tmp_path / "a.mtt" / "theta" / "00001.h5"
    data = bytearray(victim.read_bytes())
    data[-5] ^= 1
    victim.write_bytes(data)
    with pytest.raises(CorruptError) as caught:
        convert(tmp_path / "a.mtt", tmp_path / "b.mct")
    assert caught.value.reason == "hash_mismatch"
    assert not (tmp_path / "b.mct").exists()


def test_repaired_bundle_is_converted_afresh(tmp_path: Path) -> None:
    """After a hash mismatch and a repair of the file, the rerun holds the repaired weights."""
    run(save(tmp_path / "src", [theta(1), theta(2)]), tmp_path / "a.mtt")
    victim = tmp_path / "a.mtt" / "theta" / "00001.h5"
    sound = victim.read_bytes()
    victim.write_bytes(sound[:-2] + bytes([sound[-2] ^ 1, sound[-1]]))
    with pytest.raises(CorruptError):
        convert(tmp_path / "a.mtt", tmp_path / "b.mct")
    victim.write_bytes(sound)
    run(tmp_path / "a.mtt", tmp_path / "b.mct")
    with trajfmt.open(tmp_path / "b.mct") as bundle:
        assert np.array_equal(bundle[1].knot(1), flat(theta(2))[-1])


@pytest.mark.parametrize("name", ["copy.mtt", "copy.mct"])
def test_a_file_of_knots_without_elements_is_checked(tmp_path: Path, name: str) -> None:
    """No weight is read from it, and its header is as wrong as any other."""
    vectors = Path(__file__).parents[3] / "spec/v1/vectors/invalid"
    with pytest.raises(CorruptError) as caught:
        convert(vectors / "shard-hollow-name.mct", tmp_path / name, ConvertOptions(dtype="F64"))
    assert caught.value.reason == "header_mismatch"
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("digest-wrong", "hash_mismatch"),
        ("norms-unlike-u", "beta_invalid"),
        ("norms-negative", "beta_invalid"),
        ("gram-infinite", "beta_invalid"),
    ],
)
def test_what_only_a_validation_finds_is_not_copied(tmp_path: Path, name: str, reason: str) -> None:
    """It would make the copy as invalid as the bundle."""
    vectors = Path(__file__).parents[3] / "spec/v1/vectors/invalid"
    with pytest.raises(CorruptError) as caught:
        convert(vectors / f"{name}.mct", tmp_path / "copy.mct", ConvertOptions(shard_bytes=10))
    assert caught.value.reason == reason
    assert not (tmp_path / "copy.mct").exists()
