"""Read hostile files one after the other: `python -m hostile.child MATERIAL FIRST COUNT READER ...`.

The files FIRST to FIRST + COUNT are shared out among the readers, in turns. For each a line `begin NUMBER`
before, and a line of JSON behind: what came of it, seconds, and what was said. A file that takes 120 s ends the
process by SIGALRM, and memory is limited, so that who allocates much fails.
"""

import json
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from fcnxs.errors import FCNXSError

SECONDS, MEGABYTES = 120, 1000  # the time is for a machine that is very busy


def outcome(attack, call, material, folder, rng):
    """What comes of one file: taken, refused, traceback, or a message that is too long; and the message."""
    attack(material, folder, rng)
    try:
        call(folder)
    except FCNXSError as error:
        text = str(error)
    except Exception as error:
        if type(error).__name__ != "Refused":
            return "traceback", traceback.format_exc()
        code, _, text = str(error).partition(": ")
        if code != "exit code 2":
            return "vague", str(error)
    else:
        return "taken", ""
    long = len(text.splitlines()) > 1 or len(text) > 1000
    return "long" if long else "refused", text


def main(material, first, count, *readers):
    from .readers import READERS

    warnings.simplefilter("ignore")
    size = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (size + (MEGABYTES << 20),) * 2)
    for number in range(first, first + count):
        reader = readers[number % len(readers)]
        print("begin", number, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            signal.alarm(SECONDS)
            began = time.monotonic()
            kind, text = outcome(
                *READERS[reader], material, Path(folder), random.Random(f"{reader} {number // len(readers)}")
            )
            signal.alarm(0)
        print(json.dumps([kind, round(time.monotonic() - began, 2), text[-3000:]]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
