"""The search for better settings: the space, the validation, the study, and the winner that nights train with."""
