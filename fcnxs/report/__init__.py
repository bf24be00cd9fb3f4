"""The report of a run of `fcnxs finetune`: one HTML page with curves, scores and segmented images.

Begin with `page.py`, which fills `report.html`. `run.py` reads the run's folder, `evaluation.py` runs the nets
on the validation images, `charts.py` draws the curves, `confusion.py` writes the matrix of `evaluate`.

This room may import `predict`, `finetune` and what is below them; not `gluon`.
"""
