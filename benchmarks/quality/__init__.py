"""How good the lists are: the project's retrieval models and their peers, on any two sparse matrices."""
