"""The steps of a night, in their order, by the names of their jobs."""

STEPS = (
    "ingest",
    "validate_events",
    "build_features",
    "train",
    "build_index",
    "evaluate",
    "infer",
    "validate_lists",
    "promote",
    "publish",
    "report",
)
