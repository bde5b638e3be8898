"""Make a run readable: shards, manifest and pointer, on this machine's disk or in S3.

`publish` writes a run, which `build` has made; `pointer` makes it live, `rollback` goes back; `prune` and `leases` say
how long it stays; `read` opens it; `storage` is where it all lies, and `check` tries whether it can. See docs/store.md.
"""
