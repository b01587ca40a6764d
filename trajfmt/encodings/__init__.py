"""The two encodings of a trajectory on disk: `convex` (knots and betas) and `full` (every timestep)."""
