"""Give readers hostile files, several to a process, and count what comes of them."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent.parent


def attacked(material, readers, first, count):
    """Outcomes of files `first` to `first + count` of each reader: tuples of number, kind, seconds and text."""
    first, end, found = first * len(readers), (first + count) * len(readers), []
    while first < end:
        words = [sys.executable, "-m", "hostile.child", str(material), str(first), str(end - first), *readers]
        done = subprocess.run(words, cwd=TESTS, capture_output=True, text=True)
        lines, at = done.stdout.splitlines(), first
        for line in lines:
            if line.startswith("begin "):
                at = int(line.split()[1])
            elif line.startswith("["):
                found.append((at, *json.loads(line)))
        if done.returncode == 0:
            break
        signalled = done.returncode < 0
        kind = "hang" if done.returncode == -signal.SIGALRM else "signal" if signalled else "traceback"
        found.append((at, kind, 0.0, f"exit code {done.returncode}: {done.stderr[-2000:]}"))
        first = at + 1
    return found


def counted(found):
    """How many of each kind."""
    return Counter(kind for _, kind, _, _ in found)


if __name__ == "__main__":  # python -m hostile.run MATERIAL COUNT [READER ...]
    from .readers import READERS

    total = Counter()
    for reader in sys.argv[3:] or READERS:
        found = attacked(Path(sys.argv[1]), [reader], 0, int(sys.argv[2]))
        total += counted(found)
        print(f"{reader}: {dict(counted(found))}, slowest {max(row[2] for row in found):.1f} s", flush=True)
        for row in found:
            if row[1] not in ("taken", "refused"):
                print("   ", *row[:3], "\n".join(row[3].strip().splitlines()[-3:])[-700:], flush=True)
    print("all:", sum(total.values()), dict(total))
