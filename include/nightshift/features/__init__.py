"""Features: declared once, built point in time, read as snapshots by training and inference alike."""
