"""Which run is served: the pointers that are followed, the shards that are open, what this machine keeps."""
