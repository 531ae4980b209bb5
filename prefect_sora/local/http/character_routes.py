"""Character routes: characters are made from videos, and shown."""

from asyncio import to_thread
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prefect_sora.local.http.idempotency import Idempotency
from prefect_sora.local.requests.fields import read_fields
from prefect_sora.local.requests.refusals import Refusal, bad
from prefect_sora.local.requests.video_orders import checked_name
from prefect_sora.local.state.characters import Character, Characters


@dataclass
class CharacterRoutes:
    """The endpoints under `/videos/characters`."""

    characters: Characters
    idempotency: Idempotency

    async def create(self, request: Request) -> Response:
        """POST /videos/characters."""
        fields = await read_fields(request)
        name = checked_name(fields)
        video = fields.file("video")
        if video is None:
            raise bad("video", "it must be a file in a multipart form")

        async def make(key: str | None) -> Character:
            from prefect_sora.local.drawing.decoding import portrait_of

            try:
                picture = await to_thread(portrait_of, video)
            except ValueError as error:
                raise bad("video", str(error)) from None
            return await self.characters.keep(name, picture, key)

        known = self.characters.by_idempotency_key
        character = await self.idempotency.once(request, known, make)
        return JSONResponse(character.answer())

    async def retrieve(self, request: Request) -> Response:
        """GET /videos/characters/{id}."""
        asked = request.path_params["character_id"]
        character = self.characters.get(asked)
        if character is None:
            message = f"Character with id '{asked[:80]}' not found."
            raise Refusal(404, message, param="character_id", code="not_found")
        return JSONResponse(character.answer())
