"""The commands `traj` and `mct`. The folder is installed as `traj_cli`, so its imports are relative."""
