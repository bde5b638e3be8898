"""What can recommend: the two-tower model and the baselines it has to beat. Import what you need from its module."""

import os

# Threads that wait for the others of a team sleep: on cores that others use as well, spinning made training ten times
# slower. OpenMP reads this when torch, LightGBM and FAISS are loaded, which is after this package; a value of your own
# is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
