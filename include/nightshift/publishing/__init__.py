"""Make a run readable: shards, manifest and pointer, on this machine's disk or in S3.

`publish` writes a run, `pointer` makes it live or goes back, `read` opens what is live, `storage` is where it all lies.
"""
