"""The parts of the GPU campaign, in order of value: one module each, with its rows and how they are shown."""
