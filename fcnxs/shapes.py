"""The path of the generated pictures in earlier versions."""

from .data.generated import CLASSES, picture, write_voc  # noqa: F401
