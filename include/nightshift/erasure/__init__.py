"""Remove people from all that nightshift keeps, prove that they are gone, and see that they do not come back.

`people` says whom, `suppression` keeps them out of later nights, `tables`, `published` and `leftovers` remove them from
the lake, from what readers read and from every other file, `proof` looks for them everywhere, and `erase` does it all.
"""
