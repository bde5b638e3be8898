"""The pages that people read: a night's report and a drift report, each one HTML file that needs nothing else."""
