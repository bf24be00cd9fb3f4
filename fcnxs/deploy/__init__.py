"""Nets for deployment: the forms that `fcnxs export` writes, and how each is compared with its checkpoint."""
