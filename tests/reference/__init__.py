"""Independent references of the formulas: NumPy, float64, loops."""
