"""What a model is worth, and what to do next: numbers, suspects, heat-maps and the report.

`evaluation` scores probabilities, `suspects` finds labels that are likely wrong, `heatmaps` shows
where the model looked, `learning_curve` says what more labels would bring, `report` writes it all
as one HTML file and as JSON.
"""
