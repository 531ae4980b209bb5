"""Shot words: the closed lists of a shot's fields, and how else people write what is in them."""

from typing import Any, Final, Literal, get_args

ShotType = Literal[
    "establishing shot",
    "extreme wide shot",
    "wide shot",
    "full shot",
    "medium wide shot",
    "medium shot",
    "medium close-up",
    "close-up",
    "extreme close-up",
    "two-shot",
    "over-the-shoulder shot",
    "point-of-view shot",
    "insert shot",
    "aerial shot",
]

CameraAngle = Literal[
    "eye level",
    "low angle",
    "high angle",
    "bird's-eye view",
    "worm's-eye view",
    "dutch angle",
    "ground level",
    "shoulder level",
]

CameraMovement = Literal[
    "static",
    "handheld",
    "dolly in",
    "dolly out",
    "dolly zoom",
    "push in",
    "pull back",
    "pan left",
    "pan right",
    "whip pan",
    "tilt up",
    "tilt down",
    "truck left",
    "truck right",
    "pedestal up",
    "pedestal down",
    "crane up",
    "crane down",
    "orbit left",
    "orbit right",
    "arc",
    "tracking",
    "follow",
    "lead",
    "zoom in",
    "zoom out",
    "crash zoom",
    "roll",
    "steadicam",
    "drone",
    "drone flyover",
]

CAMERA_MOVEMENTS: Final[dict[CameraMovement, str]] = {
    "static": "the camera stands still on a tripod",
    "handheld": "the camera is handheld, with slight natural sway",
    "dolly in": "the camera dollies in slowly towards the subject",
    "dolly out": "the camera dollies out slowly, away from the subject",
    "dolly zoom": "the camera dollies in while it zooms out, so that the background falls away",
    "push in": "the camera pushes in steadily",
    "pull back": "the camera pulls back steadily and shows more of the scene",
    "pan left": "the camera pans slowly to the left",
    "pan right": "the camera pans slowly to the right",
    "whip pan": "the camera whips round in one fast pan, blurred by its speed",
    "tilt up": "the camera tilts slowly up",
    "tilt down": "the camera tilts slowly down",
    "truck left": "the camera trucks to the left, level with the subject",
    "truck right": "the camera trucks to the right, level with the subject",
    "pedestal up": "the camera rises straight up, its view level",
    "pedestal down": "the camera sinks straight down, its view level",
    "crane up": "the camera cranes up and looks down on the scene",
    "crane down": "the camera cranes down into the scene",
    "orbit left": "the camera orbits the subject to the left, at one distance",
    "orbit right": "the camera orbits the subject to the right, at one distance",
    "arc": "the camera moves in a slow arc in front of the subject",
    "tracking": "the camera tracks beside the subject, at its pace",
    "follow": "the camera follows close behind the subject",
    "lead": "the camera moves backwards in front of the subject, at its pace",
    "zoom in": "the lens zooms in slowly, the camera in its place",
    "zoom out": "the lens zooms out slowly, the camera in its place",
    "crash zoom": "the lens zooms in abruptly on the subject",
    "roll": "the camera rolls slowly about its own axis",
    "steadicam": "the camera glides through the scene on a steadicam, smooth and level",
    "drone": "the camera flies as a drone does, high above the subject",
    "drone flyover": "the camera flies over the scene as a drone does, high and smooth",
}
"""What each movement is called, and the words that a model understands."""

DepthOfField = Literal["very shallow", "shallow", "moderate", "deep", "rack focus"]

SYNONYMS: Final = {
    "location": "setting",
    "dof": "depth_of_field",
    "visual_style": "style",
    "physics_elements": "physics",
    "continuity_notes": "continuity",
}
"""Other names of fields, as other shot lists have them; templates know them, too."""

_LISTED: Final = {
    "shot_type": ShotType,
    "camera_angle": CameraAngle,
    "camera_movement": CameraMovement,
    "depth_of_field": DepthOfField,
}


def as_listed(field: str, value: Any) -> Any:
    """Take a word of a closed list however it is spelt: `dolly_in`, `Close up`."""
    if field not in _LISTED or not isinstance(value, str):
        return value
    told = _letters(value.removesuffix(" depth of field"))
    return next((one for one in get_args(_LISTED[field]) if _letters(one) == told), value)


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
