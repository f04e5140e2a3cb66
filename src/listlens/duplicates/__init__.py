"""Groups of equal, same and similar photos: splits, galleries and fraud checks all need them.

`search` finds pairs of near embeddings, `groups` decides which pairs are one picture and joins
them, with each other and with listings.
"""
