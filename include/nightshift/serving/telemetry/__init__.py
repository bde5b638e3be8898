"""What the service counts and traces, over all its processes."""
