"""What the commands do when the system fails them: see `faults.py`."""
