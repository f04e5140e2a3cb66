"""Learning: from embeddings and labels to a versioned model folder.

`recipe.train` is the whole of it: split by group, choose the regularisation, calibrate, choose
thresholds, fit the shipped head. `model.Model` is what comes out and what is applied.
"""
