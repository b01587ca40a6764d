"""The commands `traj` and `mct`. Installs as `traj_cli`; imports are relative."""
