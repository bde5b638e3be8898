"""The lookup service. docs/lookup.md, "To change it", says where things are."""
