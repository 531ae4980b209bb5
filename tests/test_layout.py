"""Layout: modules import from lower rows only, and the table that says so is the one we publish."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import prefect_sora

PACKAGE = Path(prefect_sora.__file__).parent
ROOT = PACKAGE.parent


def rows() -> dict[str, int]:
    """Read CONTRIBUTING's table: room -> row."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return {
        room.strip(): int(row)
        for row, rooms in re.findall(r"^\| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
        for room in rooms.split(",")
    }


def room_of(path: Path) -> str:
    """Name the room below the package that a file is in; a file beside them is a room, too."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_"
)
IMPORTS = [(path, name) for path in FILES for name in sorted(imports_of(path))]
OURS = [(path, name) for path, name in IMPORTS if name.startswith("prefect_sora.")]
LOCAL = PACKAGE / "servers" / "local"


def told(imports: list[tuple[Path, str]]) -> list[str]:
    return [f"{path.relative_to(PACKAGE)} imports {name}" for path, name in imports]


def test_rooms_import_from_lower_rows_only() -> None:
    table = rows()
    # Another name is one of the facade.
    known = [(path, name) for path, name in OURS if name.split(".")[1] in table]
    wrong = [
        (path, name)
        for path, name in known
        if name.split(".")[1] != room_of(path) and table[name.split(".")[1]] >= table[room_of(path)]
    ]
    assert told(wrong) == []
    assert len(known) > 500


def test_the_table_names_every_room_on_at_most_nine_rows() -> None:
    assert {room_of(path) for path in FILES} == set(rows())
    assert max(rows().values()) <= 9


def test_no_two_rooms_import_each_other_at_any_depth() -> None:
    files = {".".join(_parts(path)): path for path in FILES}

    def room(path: Path) -> str:
        parts = path.relative_to(PACKAGE).parts
        return "/".join(parts[:-1]) or parts[0]

    graph: dict[str, set[str]] = {room(path): set() for path in FILES}
    for path, name in OURS:
        target = files.get(name) or files.get(name.rpartition(".")[0])
        if target is not None and room(target) != room(path):
            graph[room(path)].add(room(target))
    list(TopologicalSorter(graph).static_order())  # a CycleError names the circle
    assert sum(len(rooms) for rooms in graph.values()) > 50


def _parts(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def test_no_folder_holds_more_than_fourteen_entries() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")} | {PACKAGE}
    entries = {
        str(folder.relative_to(PACKAGE)): sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.is_file() or any(file.suffix != ".pyc" for file in entry.rglob("*.*"))
        )
        for folder in folders
    }
    assert {folder: names for folder, names in entries.items() if len(names) > 14} == {}


def test_the_local_renderer_imports_itself_and_errors_alone() -> None:
    wrong = [
        (path, name)
        for path, name in OURS
        if path.is_relative_to(LOCAL)
        and not name.startswith(("prefect_sora.servers.local", "prefect_sora.errors"))
        and name != "prefect_sora.servers"
    ]
    assert told(wrong) == []


def test_prefect_is_imported_in_four_rooms_alone() -> None:
    wrong = [
        (path, name)
        for path, name in IMPORTS
        if name.split(".")[0] == "prefect"
        and room_of(path) not in ("blocks", "tasks", "flows", "cli")
    ]
    assert told(wrong) == []


def test_a_module_holds_one_idea() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > 310} == {}


def test_every_public_name_is_there_and_the_list_is_complete() -> None:
    assert prefect_sora.__all__ == sorted(prefect_sora.__all__)
    for name in prefect_sora.__all__:
        assert getattr(prefect_sora, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        prefect_sora.nothing  # noqa: B018 - the access is the test


def constants_set(path: Path) -> list[str]:
    """Find where a file gives a constant of a module another value."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[ast.expr] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            names = [arg for arg in node.args[:2] if isinstance(arg, ast.Constant)]
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target for target in targets if isinstance(target, ast.Attribute)]
        for name in names:
            said = str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name)
            if re.fullmatch(r"_?[A-Z][A-Z0-9_]+", said.rpartition(".")[2]):
                found.append(f"{path.name}:{name.lineno}: {said}")
    return found


@pytest.mark.slow
def test_no_test_and_no_benchmark_sets_a_constant_of_a_module() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert [found for path in files for found in constants_set(path)] == []


def test_a_constant_that_is_set_is_found(tmp_path: Path) -> None:
    file = tmp_path / "test_kites.py"
    file.write_text(
        "monkeypatch.setattr(keeping, 'ATTEMPTS', 1)\n"
        "patch.setattr('kites.keeping._ATTEMPTS', 1)\n"
        "setattr(keeping, 'MAX_BYTES', 1)\n"
        "keeping.SECONDS = 1\n"
        "monkeypatch.setattr(keeping, 'keep', None)\n"
        "keeping.kept = 1\n"
    )
    assert {found.rpartition(" ")[2] for found in constants_set(file)} == {
        "ATTEMPTS",
        "kites.keeping._ATTEMPTS",
        "MAX_BYTES",
        "keeping.SECONDS",
    }


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, prefect_sora, prefect_sora.servers.local; "
        "print([m for m in ('prefect', 'openai', 'av', 'PIL', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_flow_brings_neither_other_flows_nor_the_sdk() -> None:
    """Each takes as long as a good part of Prefect: making flows' forms, and importing openai."""
    code = (
        "import sys; from prefect_sora import text_to_video; "
        "print([m for m in ('openai', 'prefect_sora.flows.chains', 'prefect_sora.flows.batch') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_dev_group_and_the_dev_extra_are_one_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["dev"] == project["project"]["optional-dependencies"]["dev"]


def test_every_dependency_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    open_ended = [one for each in lists for one in each if "<" not in one]
    assert [one for one in open_ended if not one.startswith("types-")] == []


def test_every_dependency_has_its_reason_in_the_docs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    for requirement in project["dependencies"]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert re.search(rf"^\|.*\b{name[0]}\b.*\|.*\|$", reasons, re.MULTILINE), requirement
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in reasons or extra == "dev"
