"""The commands `traj` and `mct`. The folder is installed as `traj_cli`, so its imports are relative.

Importing it prepares the process for Ctrl-C, before anything that takes time is imported.
"""

from . import interrupts

interrupts.install()
