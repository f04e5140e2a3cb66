"""What a model is worth, and what to do next: numbers, suspects and the report.

`evaluation` scores probabilities, `suspects` finds labels that are likely wrong, `learning_curve`
says what more labels would bring, `report` writes it all as one HTML file and as JSON.
"""
