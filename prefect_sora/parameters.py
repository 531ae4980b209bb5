"""Parameters: names, defaults and descriptions that all flows share, as the UI's form shows."""

from typing import Annotated

from pydantic import Field, JsonValue

from prefect_sora.blocks import OneOrMore
from prefect_sora.cancelling import OnCancel
from prefect_sora.deciding import Policy

Providers = Annotated[
    OneOrMore,
    Field(
        description="Who renders; of a list the first, the next only where the one before has "
        "certainly not made it."
    ),
]
Model = Annotated[
    str | None, Field(description="The video model; None lets the server choose its only one.")
]
AspectRatio = Annotated[str, Field(description="16:9, 9:16, 1:1, 16:10 or 10:16.")]
Size = Annotated[
    str | None,
    Field(description="WIDTHxHEIGHT in pixels, 720p or 1080p; in place of the ratio's own size."),
]
Seconds = Annotated[int, Field(description="Length of the clip.")]
Take = Annotated[int, Field(description="The nth deliberate repeat of the same request.")]
Scope = Annotated[
    str | None,
    Field(description="Runs that name one scope share their renders; None: this run alone."),
]
TimeoutSeconds = Annotated[
    float | None,
    Field(
        description="How long to wait for each render; None: 600 s, and more for clips longer than "
        "8 s, larger than 720p, or of a pro model."
    ),
]
PollIntervalSeconds = Annotated[float, Field(description="Shortest pause between two polls.")]
StallSeconds = Annotated[
    float | None,
    Field(description="How long status and progress may stay as they are; None: to the timeout."),
]
Extra = Annotated[
    dict[str, JsonValue] | None, Field(description="Further fields that this server takes.")
]
AllowUnlisted = Annotated[
    bool, Field(description="Send what the catalogue says the model does not offer.")
]
InDoubt = Annotated[
    Policy,
    Field(description="Where nobody can tell whether a render was accepted: stop, or pay again."),
]

WhenCancelled = Annotated[
    OnCancel,
    Field(
        description="What becomes of an unfinished job when somebody cancels the run that "
        "submitted it: it goes on, or is deleted where the server stops by that."
    ),
]
MaxCostUsd = Annotated[
    float | None,
    Field(description="What the renders of this scope may cost together; None: no limit."),
]
Emulate = Annotated[
    bool,
    Field(description="Where the server has no remix: render anew from the clip's last frame."),
]
