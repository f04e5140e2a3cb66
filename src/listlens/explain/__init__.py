"""Why a model says what it says of a photo, for every kind of task and any backbone.

`heatmaps` and `maps` show where the evidence is, `shapley` which regions argue for and against,
`faithfulness` whether to believe the map; `asked` puts these together for one photo, `looking`
finds what a class looks for, `pictures` draws. Nothing here knows of projects.
"""
