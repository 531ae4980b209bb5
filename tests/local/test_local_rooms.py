"""The rooms of the local renderer stand one above the other, as CONTRIBUTING.md says."""

import re
from pathlib import Path

import prefect_sora

LOCAL = Path(prefect_sora.__file__).parent / "servers" / "local"


def test_a_room_imports_only_those_named_before_it() -> None:
    text = (LOCAL.parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    told = re.search(r"A room of it imports those named before it:\s+([a-z, \n]+)\.", text)
    assert told is not None
    rooms = [name.strip() for name in told[1].split(",")]

    assert set(rooms) == {path.name for path in LOCAL.iterdir() if (path / "__init__.py").exists()}
    for number, room in enumerate(rooms):
        code = "".join(path.read_text("utf-8") for path in (LOCAL / room).glob("*.py"))
        imported = set(re.findall(r"prefect_sora\.servers\.local\.(\w+)", code)) - {room}
        assert imported <= set(rooms[:number]), f"{room} imports {imported}"
