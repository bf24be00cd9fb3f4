"""The report of a run: one HTML page of what `fcnxs finetune` did, and what its nets make of images.

Begin with `page.py`, which fills `report.html`. `run.py` reads the run's folder, `evaluation.py` runs a net on
the validation images, `charts.py` draws curves and `pictures.py` the best and the worst images.

This room may import `predict`, `finetune` and what is below them; not `gluon`.
"""
