"""Pictures: image grids, convergence curves, accuracy along an artifact. Each returns a PNG, none prints."""
