"""Experiments: who gets which variant, what was shown to whom, and what can be said of it afterwards.

`assignment` and `overrides` decide on the path of a request; `exposures` notes there what was shown, `exposure_files`
is how it is written down. `statistics` and `sequential` judge, `readout` puts a result together.
"""
