"""What can recommend: the two-tower model and the baselines it has to beat. Import what you need from its module."""
