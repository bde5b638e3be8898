"""Who may read and how often, and what is written down of it: API keys, rates, the access log.

Nothing here knows an HTTP framework: `admission` decides on headers, `access` takes a line a request.
`python -m nightshift.serving.guard new-key --name shop` makes a key.
"""
