"""Attacks: what `evaluation.adversarial` is made of."""
