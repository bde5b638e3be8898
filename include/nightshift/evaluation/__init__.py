"""How good a model is, and whether it is good enough: temporal split, metrics, comparison, gate."""
