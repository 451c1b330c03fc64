"""Grids of the paper in its own setting: hundreds of GPU hours in all."""
