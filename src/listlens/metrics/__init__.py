"""How good, and how sure: pure functions on arrays, nothing about photos or files.

`classification` counts and scores, `intervals` says how far a number may be off, `calibration` and
`coverage` ask whether a probability means what it says. `hierarchy` scores answers in a category
tree, `ordinal` distributions over ordered steps.
"""
