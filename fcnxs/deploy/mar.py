"""Write archives for multi-model-server: a net, its meta file, and the code that answers requests.

Beside an archive are the server's settings and a script that starts it in a private folder: who reaches the
server's management, or its temporary folder before it does, has it run any code (tried with version 1.1.11).
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Dict, List

from .. import __version__, symbols
from ..checkpoint.meta import FORM
from ..errors import FCNXSError
from ..symbols.graph.nodes import Graph
from ..symbols.graph.operators import INPUTS
from ..system.files import written_whole
from ..system.json_files import read_json
from ..vis import full_palette

PACKAGE = "fcnxs_served"  # not this package's name: another version of it may be installed on the server
# Folders that the archive has, beside symbols/.
ROOMS = ("", "checkpoint/", "data/", "deploy/", "predict/", "system/")

CONFIG = """\
# {name}-server.sh starts the server with these settings, and makes the folder FCNXS_SERVER.
inference_address=http://127.0.0.1:8080
# Who reaches the management can run any code, and a web page reaches a port: so it is a socket in that folder.
management_address=unix:$$FCNXS_SERVER$$/management
# One worker uses all processors. With more, set OMP_NUM_THREADS to the share of each before the start.
default_workers_per_model=1
# Bytes; a larger body gets a 413.
max_request_size=16777216
max_response_size=16777216
# A body of any type reaches the handler, which says what is wrong with it.
decode_input_request=false
# Minutes, after which a worker that has not answered is started anew.
default_response_timeout=5
vmargs=-XX:+UseSerialGC -Xms64m -Xmx512m
"""

SCRIPT = """\
#!/bin/sh
# Runs multi-model-server with {name}.mar and {name}.properties, until Ctrl-C or SIGTERM.
#
# The server runs what it finds unpacked in its temporary folder, and obeys who reaches its management. So both
# are in a new folder that no other user can enter, and that is removed at the end. TMPDIR says where it lies.
set -eu
here=$(dirname "$(readlink -f "$0")")
server=$(command -v multi-model-server) || {{
    echo "$0: there is no multi-model-server; pip install multi-model-server, or activate its environment" >&2
    exit 127
}}
server=$(readlink -f "$server")
cd "$(mktemp -d "${{TMPDIR:-/tmp}}/fcnxs-XXXXXX")"
folder=$(pwd -P)
stop() {{
    trap '' INT TERM HUP
    if java=$(cat .model_server.pid 2> /dev/null); then
        "$server" --stop || true
        while kill -0 "$java" 2> /dev/null; do sleep 0.1; done
    fi
    rm -rf "$folder"
}}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ ${{#folder}} -gt 80 ]; then
    echo "$0: the path of $folder is too long for the sockets in it; set TMPDIR to a shorter one" >&2
    exit 2
fi
# TMPDIR is where the server notes its process, TEMP where Java unpacks the archive.
export TMPDIR="$folder" TEMP="$folder" FCNXS_SERVER="$folder"
unset MMS_CONFIG_FILE
echo "management: curl --unix-socket $folder/management http://localhost/models"
"$server" --start --mms-config "$here/{name}.properties" --model-store "$here" --models {name}.mar
java=$(cat .model_server.pid)
while kill -0 "$java" 2> /dev/null; do sleep 1; done
echo "$0: the server has ended" >&2
exit 1
"""


def write_mar(prefix: Path, target: Path) -> None:
    """Write TARGET.mar, and TARGET.properties and TARGET-server.sh, which make a server of it.

    The server is reachable from this machine alone, and its management by this user alone.

    The archive is a ZIP file of the net, MAR-INF/MANIFEST.json, and the modules of this package that
    `handler.py` needs. The same net always gives the same bytes, since the server unpacks an archive again when
    its bytes have changed.

    Args:
        prefix: prefix of an export: PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json.
        target: ends in `.mar`; its name is the model's on the server.

    Raises:
        FCNXSError: a server does not take the name, a file is missing, or the archive cannot be written.
    """
    target = Path(target)
    if target.suffix != ".mar" or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", target.stem, re.ASCII):
        raise FCNXSError(f"{target}: expected a name of letters, digits, '_', '-' and '.' that ends in .mar")
    files = [Path(f"{prefix}{end}") for end in ("-symbol.json", "-0000.params", "-meta.json")]
    for file in files:
        if not file.is_file():
            raise FCNXSError(f"{file}: no such file (of the exported net {prefix})")
    with written_whole(*beside(target), target) as (config_part, script_part, target_part):
        config_part.write_text(CONFIG.format(name=target.stem), encoding="utf-8")
        script_part.write_text(SCRIPT.format(name=target.stem), encoding="utf-8")
        mode = script_part.stat().st_mode
        script_part.chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
        with zipfile.ZipFile(target_part, "w") as archive:  # parameters do not get smaller
            for name, content in _texts(files[0], files[-1], target.stem).items():
                archive.writestr(_entry(name), content)
            for file in files[:-1]:
                with file.open("rb") as stream, archive.open(_entry(file.name), "w") as copy:
                    shutil.copyfileobj(stream, copy, 1 << 20)


def beside(target: Path) -> List[Path]:
    """Files that belong to the archive TARGET.mar: its settings, and the script that starts a server."""
    return [target.with_suffix(".properties"), target.with_name(f"{target.stem}-server.sh")]


def _entry(name: str) -> zipfile.ZipInfo:
    """Entry of an archive, without a date, that every user may read."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    return entry


def _texts(symbol_file: Path, meta_file: Path, model: str) -> Dict[str, str]:
    """Text files of the archive, by name: manifest, meta file, and the modules that the handler needs."""
    package, nets = Path(__file__).resolve().parent.parent, Path(symbols.__file__).resolve().parent
    files = {f"{PACKAGE}/{room}{file.name}": file for room in ROOMS for file in (package / room).glob("*.py")}
    files.update({f"{PACKAGE}/symbols/{file.relative_to(nets)}": file for file in nets.rglob("*.py")})
    meta = read_json(meta_file, "a meta file of a checkpoint", FORM)
    meta["palette"] = full_palette(meta["palette"] or [])
    ops = Graph.read(symbol_file.read_text(encoding="utf-8")).ops
    meta["operators"] = sorted({*ops} - {*INPUTS, "null"})  # which the user allowed
    manifest = {
        "runtime": "python",
        "model": {
            "modelName": model,
            "handler": f"{PACKAGE}.deploy.handler:handle",
            "description": "semantic segmentation: a JPEG or PNG in, a palette PNG or JSON out",
            "modelVersion": __version__,
        },
        "modelServerVersion": "1.0",
        "implementationVersion": "1.0",
        "specificationVersion": "1.0",
    }
    return {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=2),
        meta_file.name: json.dumps(meta, indent=2),
        **{name: files[name].read_text(encoding="utf-8") for name in sorted(files)},
    }
