"""The path of the generated pictures in earlier versions."""

from .data.generated import CLASSES as CLASSES
from .data.generated import picture as picture
from .data.generated import write_voc as write_voc
