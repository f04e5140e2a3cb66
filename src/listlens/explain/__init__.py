"""Why a model says what it says of a photo, for every kind of task and any backbone.

`heatmaps` and `maps` show where the evidence is, `shapley` which regions argue for and against,
`faithfulness` whether to believe the map, `page` draws it. Nothing here knows of projects.
"""
