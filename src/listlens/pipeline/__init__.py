"""The main line: source row to photo to content to embedding to prediction, and back from labels.

Every surface (facade, commands, API, worker, batch) runs these functions, so the same bytes get
the same probabilities everywhere.
"""
