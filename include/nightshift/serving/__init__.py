"""The lookup service: a thin HTTP reader of what is published. `python -m nightshift.serving` starts it."""
