"""How good a photo is, with no label: a technical score, an aesthetic one, and what is wrong.

Two models ship in `data/`, each with a card that says what it was trained on. Weights are
safetensors, and are applied in NumPy.
"""
