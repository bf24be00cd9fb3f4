"""Who may import whom: the table of levels, which each folder's `__init__.py` says in words."""

import ast
import importlib.util
from pathlib import Path

import pytest

import fcnxs

ROOT = Path(__file__).parent.parent
FOLDERS = {"fcnxs": "fcnxs", "symbols": "fcnxs.symbols", "tools": "fcnxs.tools"}

# Rooms by level: a room may import those on the levels below its own.
LEVELS = (
    {"compat", "early", "mxnet_compat", "late_operators", "errors", "conventions"},
    {"symbols", "system"},
    {
        *("net", "init", "stages", "score", "metric", "vis", "agreement", "checkpoint"),
        *("epoch_choice", "feasible", "device_memory", "class_weights", "heads", "lr_schedule", "regression"),
        *("launch", "doctor"),
    },
    {"data"},
    {"solver", "predict", "convert", "importing"},
    {"finetune", "deploy"},
    {"report", "gluon"},
    {"tools"},
)
BESIDE = LEVELS[2] - {"launch", "doctor"}  # these may import each other too
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
ALIASES = {
    "fcnxs.export",
    "fcnxs.lifeline",
    "fcnxs.replica",
    "fcnxs.shapes",
}  # of earlier versions: one line each
# What the package gives when it is asked for: `fcnxs.Segmenter`, and the modules of `dir(fcnxs)`.
UPWARD = {"fcnxs.predict.segmenter", *(f"fcnxs.{name}" for name in fcnxs.MODULES)}

MATHEMATICS = {"coord_map", "interpolation"}  # at the front of symbols/: everything in there may import them


def modules():
    """Path of every module of the package, by its name."""
    found = {}
    for folder, package in FOLDERS.items():
        for file in (ROOT / folder).rglob("*.py"):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = file
    return found


MODULES = modules()


def imports_of(name, text, is_package):
    """Modules of this package that a module imports: at its top, late, or for types alone."""
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "fcnxs")
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if base.split(".")[0] == "fcnxs":
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield inner if inner in MODULES else base


IMPORTS = {
    name: {*imports_of(name, file.read_text(encoding="utf-8"), file.name == "__init__.py")} - {name}
    for name, file in MODULES.items()
}
IMPORTS["fcnxs"] -= UPWARD


def room_of(name):
    """First part of a module's name behind `fcnxs`; None for the package itself."""
    return name.split(".")[1] if "." in name else None


def refusal(name, other):
    """Why a module may not import another one; None if it may."""
    room, target = room_of(name), room_of(other)
    if target is None or name in ALIASES or name == "fcnxs.__main__":
        return None
    if other in ALIASES:
        return "a path of earlier versions"
    if room == target:
        return within(name.split(".")[2:], other.split(".")[2:], room)
    if room is None:
        return None if LEVEL_OF[target] == 0 else "the package itself imports level 0 alone"
    if {room, target} <= BESIDE or LEVEL_OF[target] < LEVEL_OF[room]:
        allowed = LEVEL_OF[target] < 2 or room not in ("launch", "doctor")
        return None if allowed else f"{room} sees levels 0 and 1 alone"
    return f"level {LEVEL_OF[room]} imports level {LEVEL_OF[target]}"


def within(own, other, room):
    """The same for two modules of a room."""
    if room == "symbols" and own and other and other[0] not in MATHEMATICS:
        if own[0] in MATHEMATICS:
            return "the mathematics imports nothing of its room"
        if own[0] == "graph" and other[0] != "graph":
            return "graph/ sees neither the nets nor trimming/"
        if "trimming" in (own[0], other[0]) and own[0] != other[0] and other[0] != "graph":
            return "the nets and trimming/ see graph/, not each other"
    if room == "tools" and len(other) == 1 and other[0] not in ("main", "shared"):
        return "nothing imports a command"
    if room == "tools" and own[0] == "shared" and other[0] != "shared":
        return "shared/ imports no other part of tools/"
    return None


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_what_its_level_may(name):
    assert name in ALIASES or name in ("fcnxs", "fcnxs.__main__") or room_of(name) in LEVEL_OF
    for other in sorted(IMPORTS[name]):
        assert refusal(name, other) is None, f"{name} imports {other}: {refusal(name, other)}"


def test_the_table_refuses():
    for name, other in (
        ("fcnxs.symbols.layers", "fcnxs.net"),
        ("fcnxs.solver.solver", "fcnxs.predict.forward"),
        ("fcnxs.doctor.rules", "fcnxs.checkpoint.checkpoint"),
        ("fcnxs.finetune.epochs", "fcnxs.deploy.form"),
        ("fcnxs.symbols.graph.maps", "fcnxs.symbols.layers"),
        ("fcnxs.symbols.layers", "fcnxs.symbols.trimming.windows"),
        ("fcnxs.tools.report", "fcnxs.tools.finetune"),
        ("fcnxs", "fcnxs.data.images"),
        ("fcnxs.tools.export", "fcnxs.export"),
    ):
        assert refusal(name, other), (name, other)
    assert refusal("fcnxs.net", "fcnxs.symbols.graph.nodes") is None


def test_there_is_no_circle():
    """What imports nothing that is left is taken away, again and again: a circle would remain."""
    left = {name: set(others) for name, others in IMPORTS.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, {name: sorted(others & left.keys()) for name, others in left.items()}


def test_modules_that_give_names_late():
    """A module's `__getattr__` could hide a circle: there are four, whose late imports the other tests read."""
    found = {
        name
        for name, file in MODULES.items()
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        for each in (node, *getattr(node, "body", ()))
        if not isinstance(node, ast.ClassDef) and isinstance(each, ast.FunctionDef)
        if each.name == "__getattr__"
    }
    assert found == {"fcnxs", "fcnxs.compat", "fcnxs.data", "fcnxs.predict"}


def test_nothing_is_imported_by_a_name_that_is_made_up():
    """`import_module` serves commands, the modules of `dir(fcnxs)`, and packages that are not ours."""
    users = {name for name, file in MODULES.items() if "import_module(" in file.read_text(encoding="utf-8")}
    others = {"fcnxs.deploy.plain_mar", "fcnxs.launch.dmlc"}
    assert users == {"fcnxs", "fcnxs.tools.benchmark", "fcnxs.tools.main", *others}


@pytest.mark.parametrize("name", sorted(name for name, file in MODULES.items() if file.name == "__init__.py"))
def test_a_folder_says_what_lives_there(name):
    """In three to six lines: what, where a reader begins, and what it may import; an example may follow."""
    text = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    said = [line for paragraph in text.split("\n\n")[:3] for line in paragraph.splitlines()]
    assert 3 <= len(said) <= 7, text
    assert ("Begin with" in text and "may import" in text) or name == "fcnxs"
