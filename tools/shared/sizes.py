"""The option --image-size, which is WIDTHxHEIGHT in pixels in every command."""

from __future__ import annotations

import re
from typing import Tuple

from ...errors import FCNXSError

LARGEST_SIDE = 99999  # pixels


def height_and_width(
    text: str, least: int = 1, option: str = "--image-size", other: str = ""
) -> Tuple[int, int]:
    """Height and width of an image size, which is written as width x height.

    Args:
        text: value of the option.
        least: pixels of the shortest side that is possible.
        option: name of the option, for the error.
        other: value besides sizes that the option takes, for the error.

    Raises:
        FCNXSError: `text` is no size, or a side is too short or too long.
    """
    found = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})", text)
    if not found or min(map(int, found.groups())) < least:
        also = other and f", or {other}"
        raise FCNXSError(
            f"{option} {text}: expected width x height in pixels, each from {least} to {LARGEST_SIDE}, "
            f"such as 500x375{also}"
        )
    return int(found[2]), int(found[1])
