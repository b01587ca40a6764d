"""Use an installed trajfmt as its user would, in an environment that holds nothing else.

    python -I .ci/smoke.py [EXTRA]

Everything is written into the working folder's `smoke`, which must not exist. EXTRA is empty or `[mct]`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

WORK = Path("smoke")


def run(*command: object) -> str:
    """Return what a command of this environment prints; it must succeed."""
    program, *arguments = map(str, command)
    program = str(Path(sysconfig.get_path("scripts"), program))
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}"
    return done.stdout


def installed() -> str:
    """Return the version; the distribution owns its three packages, its commands, and no other name."""
    found = metadata.distribution("trajfmt")
    tops = {file.parts[0] for file in found.files or () if not file.parts[0].startswith("..")}
    assert tops == {"trajfmt", "mct", "traj_cli", f"trajfmt-{found.version}.dist-info"}, tops
    share = Path(sys.prefix, "share")
    for path in ("man/man1/traj.1", "man/man1/mct.1", "doc/trajfmt/README.md", "doc/trajfmt/spec/v1/spec.md"):
        assert (share / path).is_file(), share / path
    scripts = {point.name for point in found.entry_points if point.group == "console_scripts"}
    assert scripts == {"traj", "mct"}, scripts
    return found.version


def bundles(version: str) -> None:
    """Write a bundle, convert it, read both, and look at them with the command."""
    import numpy as np

    import trajfmt
    from trajfmt.convert import convert

    assert trajfmt.__version__ == version
    assert Path(trajfmt.__file__).is_relative_to(sysconfig.get_path("purelib")), trajfmt.__file__
    layout = trajfmt.ParamLayout.of([("fc.weight", (2, 3)), ("fc.bias", (2,))], layers="module")
    walk = np.random.default_rng(0).standard_normal((6, layout.size)).cumsum(axis=0).astype(np.float32)
    with trajfmt.create(WORK / "all.mtt", layout, encoding="full") as writer:
        writer.add(trajfmt.ArrayTrajectory(walk, layout))
    convert(WORK / "all.mtt", WORK / "two.mct")
    with trajfmt.open(WORK / "all.mtt") as full, trajfmt.open(WORK / "two.mct") as convex:
        assert (full[0].at(3) == walk[3]).all()
        assert (convex[0].at(5) == walk[5]).all()
        assert np.isfinite(convex[0].at(2.5)).all()
    assert "convert" in run("traj", "--help")
    assert version in run("traj", "--version")
    run("traj", "validate", WORK / "all.mtt", WORK / "two.mct")
    assert "two.mct" in run("traj", "inspect", WORK / "two.mct")


def example() -> None:
    """Run the first Python example of the installed README on a bundle that was just written."""
    text = Path(sys.prefix, "share", "doc", "trajfmt", "README.md").read_text()
    code = re.findall(r"```python\n(.+?)```", text, re.DOTALL)[0]
    before = Path.cwd()
    os.chdir(WORK)
    try:
        exec(code.replace("features.0.weight", "fc.weight"))
    finally:
        os.chdir(before)


def distillation() -> None:
    """Import mct, and ask its command for help."""
    import mct

    assert mct.__all__
    assert "distill" in run("mct", "--help")
    assert "mct-cifar10-ipc1" in run("mct", "presets")


def main() -> None:
    """Do all of it, and print one line."""
    extra = "".join(sys.argv[1:])
    WORK.mkdir()
    try:
        version = installed()
        bundles(version)
        example()
        if extra == "[mct]":
            distillation()
        else:
            assert find_spec("torch") is None, "trajfmt must not need torch"
    finally:
        shutil.rmtree(WORK)
    print(f"trajfmt {version} works" + (", with mct" if extra else ", without torch"))


if __name__ == "__main__":
    main()
