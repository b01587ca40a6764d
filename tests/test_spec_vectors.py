"""The vectors of `spec/v1`: what the library makes of each, and what independent programs make of it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

import trajfmt
from tests.helpers.sealing import sealed
from trajfmt.bundle.validation import validate
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.errors import REASONS, FormatError, NotABundleError, UnsafeError
from trajfmt.schema.manifest import MAX_BYTES, encode
from trajfmt.schema.parse import parse

FOLDER = Path(__file__).parents[1] / "spec" / "v1" / "vectors"
VECTORS: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())["vectors"]


def cases(kind: str, *, valid: bool, encoding: str | None = None) -> Any:
    """Parametrize by the vectors of one kind, and of one encoding."""
    chosen = [
        pytest.param(case, id=case["name"])
        for case in VECTORS
        if (case["kind"], case["valid"]) == (kind, valid) and (not encoding or encoding_of(case) == encoding)
    ]
    return pytest.mark.parametrize("case", chosen)


def encoding_of(case: dict[str, Any]) -> str:
    """Return the encoding of a bundle vector."""
    return str(json.loads((FOLDER / case["file"] / "manifest.json").read_bytes())["encoding"])


def expected(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a valid bundle says about its trajectories."""
    result: list[dict[str, Any]] = json.loads((FOLDER / case["file"] / "expected.json").read_text())[
        "trajectories"
    ]
    return result


def readable(bundle: trajfmt.Bundle, case: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Return every trajectory that is not refused, with what is expected of it."""
    answers = expected(case)
    assert {n for n, answer in enumerate(answers) if answer is None} == set(bundle.refused)
    assert ("1 of them refused" in repr(bundle)) is (len(bundle.refused) == 1)
    for number, reason in case.get("refused", {}).items():
        with pytest.raises(NotABundleError, match=f"trajectory {number}: ") as caught:
            bundle[int(number)]
        assert caught.value.reason == reason
    return [(bundle[n], answer) for n, answer in enumerate(answers) if answer is not None]


def read_everything(bundle: trajfmt.Bundle) -> None:
    """Ask every trajectory for its weights at both ends and at every knot."""
    for trajectory in bundle:
        for t in (0, *trajectory.knots, trajectory.last):
            trajectory.at(t)
            trajectory.buffers(t)


def numbers_of(array: np.ndarray) -> list[Any]:
    """Return the numbers of any item type as Python's."""
    result: list[Any] = array.astype(np.float64).tolist()
    return result


@dataclass(frozen=True)
class Imported:
    """What a bundle holds, as a trajectory that is convexified already."""

    trajectory: ConvexTrajectory
    smoothed: bool = False

    def __getattr__(self, name: str) -> Any:
        """Return a fact of the trajectory."""
        if name in ("timesteps", "knots", "u", "step_norms", "free", "numbers", "buffers"):
            return getattr(self.trajectory, name)
        raise AttributeError(name)

    def read(self, k: int, parameter: int) -> np.ndarray:
        """Return one parameter of a knot."""
        offsets = self.trajectory.layout.offsets
        return self.trajectory.knot_piece(k, offsets[parameter], offsets[parameter + 1])


def test_corpus_is_present() -> None:
    """A lost corpus would pass every other test."""
    for kind in ("manifest", "bundle"):
        for valid in (True, False):
            chosen = [case for case in VECTORS if case["kind"] == kind and case["valid"] is valid]
            assert len(chosen) >= 9


def test_index_is_complete() -> None:
    """Names are unique, every vector has a purpose, and an invalid one has a reason of the library."""
    assert len({case["name"] for case in VECTORS}) == len(VECTORS)
    for case in VECTORS:
        assert case["purpose"]
        assert case["valid"] == ("reason" not in case)
        assert case["valid"] or case["reason"] in REASONS
        assert case["file"].startswith("valid/" if case["valid"] else "invalid/")


def test_every_file_is_listed() -> None:
    """The folders hold what the index lists, and nothing else."""
    found = {
        path.relative_to(FOLDER).as_posix()
        for side in ("valid", "invalid")
        for path in (FOLDER / side).iterdir()
    }
    assert found == {case["file"] for case in VECTORS}


@cases("manifest", valid=True)
def test_valid_manifest_is_accepted(case: dict[str, Any]) -> None:
    """A valid manifest parses, and comes out canonical."""
    data = (FOLDER / case["file"]).read_bytes()
    manifest = parse(data)
    assert {str(number) for number in manifest.refused} == set(case.get("refused", {}))
    if "canonical" in case:
        assert (encode(manifest) == data) is case["canonical"]


@cases("manifest", valid=False)
def test_invalid_manifest_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    """Every manifest in `invalid/` is refused for the reason that the index states."""
    with pytest.raises(FormatError) as caught:
        parse((FOLDER / case["file"]).read_bytes())
    assert caught.value.reason == case["reason"]


@cases("bundle", valid=True)
@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_valid_bundle_gives_the_expected_weights(case: dict[str, Any], backend: Any) -> None:
    """Bit for bit everywhere, between knots too, and the sign of zeros."""
    with trajfmt.open(FOLDER / case["file"], verify=True, backend=backend) as bundle:
        assert len(bundle) == len(expected(case))
        for trajectory, answer in readable(bundle, case):
            for point in answer["weights"]:
                right = np.array([float(x) for x in point["values"]]).astype(bundle.layout.numpy_dtype)
                assert trajectory.at(point["t"]).tobytes() == right.tobytes()
            assert trajectory.numbers == (tuple(answer["numbers"]) if "numbers" in answer else None)
            for point in answer.get("buffers", []):
                held = trajectory.buffers(point["t"])
                assert {name: values.tolist() for name, values in held.items()} == point["values"]


@cases("bundle", valid=True)
def test_one_page_reader_gives_the_expected_weights(case: dict[str, Any]) -> None:
    """A reader that was written from the text alone reproduces every number."""
    module = runpy.run_path(str(FOLDER / "read.py"))
    weights = module["weights"]
    for index, answer in enumerate(expected(case)):
        if answer is None:
            with pytest.raises(module["RefusalError"], match=case["refused"][str(index)]):
                weights(FOLDER / case["file"], index, 0)
            continue
        for point in answer["weights"]:
            found = weights(FOLDER / case["file"], index, point["t"])
            right = np.array([float(x) for x in point["values"]])
            assert found.astype(np.float64).tobytes() == right.tobytes()
        for point in answer.get("buffers", []):
            assert module["buffers"](FOLDER / case["file"], index, point["t"]) == point["values"]


@cases("bundle", valid=True)
def test_valid_bundle_validates(case: dict[str, Any]) -> None:
    """A validation finds nothing in a valid bundle but the trajectories that are refused."""
    found = [problem.reason for problem in validate(FOLDER / case["file"])]
    assert found == list(case.get("refused", {}).values())


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS if case["kind"] == "bundle" and "writer" in case["classes"]],
    ids=lambda case: case["name"],
)
def test_writer_agrees_with_the_generator(case: dict[str, Any], tmp_path: Path) -> None:
    """From the original weights the library stores the same knots, digests and betas."""
    with trajfmt.open(FOLDER / case["file"]) as bundle:
        for theirs, answer in readable(bundle, case):
            options: dict[str, Any] = {"codec": "archive"}
            if isinstance(theirs, ConvexTrajectory):
                options = {"knots": theirs.knots[1:-1], "smooth": bundle.manifest.smoothed}  # type: ignore[union-attr]
            theta = np.array(answer["original"], bundle.layout.numpy_dtype)
            target = tmp_path / str(theirs.index)
            source: Any = trajfmt.ArrayTrajectory(theta, bundle.layout)
            if isinstance(theirs, ConvexTrajectory):
                if theirs.step_norms is None or theirs.free:
                    source = Imported(theirs)
                if case["name"] == "convex-sharded":
                    options["shard_bytes"] = 36
            with trajfmt.create(target, bundle.layout, encoding=bundle.encoding, **options) as writer:
                writer.add(source)
            with trajfmt.open(target) as ours:
                entry = bundle.manifest.trajectories[theirs.index]
                assert ours.manifest.trajectories[0].digest == entry.digest
                assert all(np.array_equal(ours[0].at(k), theirs.at(k)) for k in theirs.knots)
                if isinstance(theirs, ConvexTrajectory):
                    assert isinstance(ours[0], ConvexTrajectory)
                    if entry.shards is None and ours.manifest.trajectories[0].shards is None:
                        assert (target / ours.manifest.trajectories[0].file).read_bytes() == (
                            FOLDER / case["file"] / entry.file
                        ).read_bytes()
                    np.testing.assert_allclose(ours[0].u, answer["u"], rtol=0, atol=1e-12)
                    assert (ours[0].step_norms is None) == (theirs.step_norms is None)
                    if theirs.step_norms is not None:
                        np.testing.assert_allclose(ours[0].step_norms, theirs.step_norms, rtol=1e-12)


@cases("bundle", valid=True)
def test_hdf5_library_sees_what_the_manifest_says(case: dict[str, Any]) -> None:
    """Any HDF5 tool reads theta, its codes, and the tables under the names of the specification."""
    pytest.importorskip("hdf5plugin")
    root = FOLDER / case["file"]
    with trajfmt.open(root) as bundle:
        for trajectory, answer in readable(bundle, case):
            entry = bundle.manifest.trajectories[trajectory.index]
            theta = np.array(answer["original"], bundle.layout.numpy_dtype)
            if isinstance(trajectory, ConvexTrajectory):
                with h5py.File(root / entry.table.file) as file:
                    group = file[f"{trajectory.index:05d}"]
                    assert group["u"][()].tolist() == answer["u"]
                    assert ("step_norms" in group) == (trajectory.step_norms is not None)
                    if trajectory.step_norms is not None:
                        assert np.array_equal(group["step_norms"][()], trajectory.step_norms)
                continue
            with h5py.File(root / entry.file) as file:
                if "theta" in file:
                    assert file["theta"][()].tolist() == numbers_of(theta)
                else:
                    assert file["delta"].attrs["keyframe"] == bundle.manifest.codec.keyframe
                    bits = theta.view(file["delta"].dtype)
                    assert np.array_equal(file["delta"][0], bits[0])


@cases("bundle", valid=True, encoding="convex")
def test_safetensors_library_opens_the_knots(case: dict[str, Any]) -> None:
    """Each knot is an ordinary checkpoint under the prefix of its timestep."""
    with trajfmt.open(FOLDER / case["file"]) as bundle:
        for trajectory, _ in readable(bundle, case):
            entry = bundle.manifest.trajectories[trajectory.index]
            names = [shard.file for shard in entry.stored(len(bundle.layout.parameters))]
            tensors = {}
            for name in names:
                tensors |= load_file(FOLDER / case["file"] / name)
            for k, t in enumerate(trajectory.knots):
                for name, value in bundle.layout.split(trajectory.knot(k)).items():
                    assert np.array_equal(tensors.pop(f"{t:05d}/{name}"), value)
            assert not tensors


@pytest.mark.parametrize(
    "case", [case for case in VECTORS if "weights" in case["classes"]], ids=lambda c: c["name"]
)
def test_one_page_reader_is_a_weights_reader(case: dict[str, Any], tmp_path: Path) -> None:
    """It accepts and refuses every vector for its class as the index says."""
    module = runpy.run_path(str(FOLDER / "read.py"))
    bundle = FOLDER / case["file"]
    if case["kind"] == "manifest":
        bundle = tmp_path
        shutil.copyfile(FOLDER / case["file"], bundle / "manifest.json")

    def use() -> None:
        manifest = module["manifest_of"](bundle)
        read = case["kind"] == "bundle" or not case["valid"]  # the files of a manifest do not exist
        for index, entry in enumerate(manifest["trajectories"] if read else []):
            for t in (0, entry["timesteps"] - 1):
                module["weights"](bundle, index, t)

    if case["valid"]:
        if not case.get("refused"):
            use()
        return
    with pytest.raises(module["RefusalError"]) as caught:
        use()
    assert str(caught.value) == case["reason"]


def test_classes_of_the_index() -> None:
    """Every class has vectors of both kinds; a writer has valid ones only, and a validator has all."""
    for name in ("weights", "full", "validator", "writer"):
        held = [case for case in VECTORS if name in case["classes"]]
        assert {case["kind"] for case in held} == {"manifest", "bundle"}
        assert {case["valid"] for case in held} == ({True} if name == "writer" else {True, False})
    assert all("validator" in case["classes"] for case in VECTORS)


@cases("bundle", valid=False)
def test_invalid_bundle_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    """Every bundle in `invalid/` is refused at its stage, for its reason; a reader passes `validate`."""
    if case["stage"] == "validate":
        with trajfmt.open(FOLDER / case["file"], verify=True) as bundle:
            read_everything(bundle)
        return
    verify = case["stage"] == "verify"
    with pytest.raises(FormatError) as caught, trajfmt.open(FOLDER / case["file"], verify=verify) as bundle:
        read_everything(bundle)
    assert caught.value.reason == case["reason"]


@cases("bundle", valid=False)
def test_validation_reports_the_reason(case: dict[str, Any]) -> None:
    """A validation reports the reason of every invalid bundle; no other if only it finds the flaw."""
    found = {problem.reason for problem in validate(FOLDER / case["file"])}
    assert case["reason"] in found
    assert case["stage"] != "validate" or len(found) == 1


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """Return a copy of a valid bundle that a test may damage."""
    return Path(shutil.copytree(FOLDER / "valid" / "convex-two-knots.mct", tmp_path / "copy.mct"))


def refusals(path: Path) -> set[str]:
    """Return the reasons for which the library and the one-page reader refuse to read a bundle."""
    module = runpy.run_path(str(FOLDER / "read.py"))
    found = {problem.reason for problem in validate(path)}
    with pytest.raises(FormatError) as caught, trajfmt.open(path) as bundle:
        read_everything(bundle)
    with pytest.raises(module["RefusalError"]) as other:
        module["weights"](path, 0, 0.5)
    assert caught.value.reason in found
    return {caught.value.reason, str(other.value)}


@pytest.mark.parametrize("name", ["knots/00000.safetensors", "tables/00000.h5"])
def test_symbolic_link_to_a_file_is_refused(bundle_copy: Path, name: str) -> None:
    """A link where a file is expected leads out of the bundle, even if to the right bytes."""
    file = bundle_copy / name
    file.rename(bundle_copy.parent / file.name)
    file.symlink_to(bundle_copy.parent / file.name)
    assert refusals(bundle_copy) == {"path_unsafe"}


def test_symbolic_link_to_a_folder_is_refused(bundle_copy: Path) -> None:
    """A link on the way to a file is as bad as a link at its end."""
    (bundle_copy / "knots").rename(bundle_copy.parent / "knots")
    (bundle_copy / "knots").symlink_to(bundle_copy.parent / "knots")
    assert refusals(bundle_copy) == {"path_unsafe"}


def test_named_pipe_is_refused_without_blocking(bundle_copy: Path) -> None:
    """A pipe in place of a file is refused, not waited for."""
    (bundle_copy / "tables/00000.h5").unlink()
    os.mkfifo(bundle_copy / "tables/00000.h5")
    assert refusals(bundle_copy) == {"path_unsafe"}


def test_folder_and_file_in_the_place_of_each_other(bundle_copy: Path) -> None:
    """A folder where a file is listed is unsafe, and below what is no folder there is no file."""
    file = bundle_copy / "knots/00000.safetensors"
    file.unlink()
    file.mkdir()
    assert refusals(bundle_copy) == {"path_unsafe"}
    shutil.rmtree(bundle_copy / "knots")
    (bundle_copy / "knots").write_bytes(b"")
    assert refusals(bundle_copy) == {"file_missing"}
    (bundle_copy / "knots").unlink()
    os.mkfifo(bundle_copy / "knots")
    assert refusals(bundle_copy) == {"file_missing"}


def test_folder_is_no_manifest(bundle_copy: Path) -> None:
    """Something is called manifest.json, so it is not taken for another folder; but it is no file."""
    (bundle_copy / "manifest.json").unlink()
    (bundle_copy / "manifest.json").mkdir()
    with pytest.raises(UnsafeError) as caught:
        trajfmt.open(bundle_copy)
    assert caught.value.reason == "path_unsafe"
    module = runpy.run_path(str(FOLDER / "read.py"))
    with pytest.raises(module["RefusalError"], match="path_unsafe"):
        module["manifest_of"](bundle_copy)


def test_linked_manifest_is_refused(bundle_copy: Path) -> None:
    """The manifest is a regular file as well."""
    (bundle_copy / "manifest.json").rename(bundle_copy.parent / "manifest.json")
    (bundle_copy / "manifest.json").symlink_to(bundle_copy.parent / "manifest.json")
    with pytest.raises(UnsafeError) as caught:
        trajfmt.open(bundle_copy)
    assert caught.value.reason == "path_unsafe"


def test_bundle_behind_a_link_opens(bundle_copy: Path) -> None:
    """The bundle's own directory may be reached through a link."""
    (bundle_copy.parent / "link.mct").symlink_to(bundle_copy)
    with trajfmt.open(bundle_copy.parent / "link.mct", verify=True) as bundle:
        read_everything(bundle)


def test_manifest_above_the_limit_is_refused(bundle_copy: Path) -> None:
    """A manifest of 64 MiB and one byte is refused unread; the file is sparse."""
    os.truncate(bundle_copy / "manifest.json", MAX_BYTES + 1)
    with pytest.raises(UnsafeError) as caught:
        trajfmt.open(bundle_copy)
    assert caught.value.reason == "manifest_too_large"


def test_append_keeps_private_keys(tmp_path: Path) -> None:
    """A program that extends a bundle keeps the `x_` keys and the numbers of what was there."""
    path = Path(shutil.copytree(FOLDER / "valid" / "convex-modules.mct", tmp_path / "copy.mct"))
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_bytes(sealed({**manifest, "requires_write": []}))
    with trajfmt.append(path) as writer:
        theta = np.arange(32.0).reshape(4, 8)
        writer.add(trajfmt.ArrayTrajectory(theta, writer.layout))
    after = json.loads((path / "manifest.json").read_bytes())
    assert after["x_lab"] == manifest["x_lab"]
    assert after["trajectories"][:1] == manifest["trajectories"]
    assert validate(path) == []
