"""Evaluation: one file per question."""
