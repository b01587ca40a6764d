"""The folder for a bare machine: what is refused, before anything is fetched and with nothing left behind."""

import subprocess
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu" / "pack.sh"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage: pack.sh DEST"),
        (["--cifar10", "images.tar.xz"], "usage: pack.sh DEST"),
        (["there"], "there exists; remove it, or name another folder"),
        (["new", "--cifar10"], "--cifar10 needs a value"),
        (["new", "--cifar10", "nowhere"], "nowhere: no such file or folder"),
        (["new", "--cifar10", "there"], "there: expected an archive"),
        (["new", "--mtt", "there"], "there: no distill.py; expected a checkout of the reference"),
        (["new", "--what", "there"], "unknown option --what"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    """Exit code 2, one line, and no folder."""
    (tmp_path / "there").mkdir()
    done = subprocess.run(
        [PACK, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHON": "/bin/false"},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_download_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """The folder appears when it is whole."""
    done = subprocess.run(
        [PACK, "new folder"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHON": "/bin/false"},
    )  # fmt: skip
    assert done.returncode not in (0, 2)
    assert list(tmp_path.iterdir()) == []


def test_packed_folder_has_wheels_programs_and_images(tmp_path: Path) -> None:
    """With a stand-in for pip: wheels, the programs of the references, and the archive; paths with spaces."""
    pip = tmp_path / "pip stand-in"
    script = ["#!/bin/sh", 'while [ "$1" != --dest ]; do shift; done', 'mkdir "$2" && touch "$2/one.whl"', ""]
    pip.write_text("\n".join(script))
    pip.chmod(0o755)
    checkout, archive = tmp_path / "their code", tmp_path / "my images.tar.xz"
    checkout.mkdir()
    for name in ("distill.py", "utils.py", "large.png"):
        (checkout / name).touch()
    archive.write_bytes(b"images")
    words = ["to pack", "--mtt", "their code", "--cifar10", "my images.tar.xz"]
    done = subprocess.run(
        [PACK, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(pip)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = {
        path.relative_to(tmp_path / "to pack").as_posix() for path in (tmp_path / "to pack").rglob("*.*")
    }
    assert files == {"wheels/one.whl", "mtt/distill.py", "mtt/utils.py", "cifar10.tar.xz"}
