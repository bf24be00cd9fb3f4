"""The report of a run: one HTML page of what `fcnxs finetune` did, and what its nets make of images."""
