"""What `outer_step.py` runs in its child processes."""
