"""One call per method: a request in, a value or a typed error out; nothing is retried here.

Our errors do not carry the SDK's error as their cause, because its text repeats what the
server said, even a key.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import httpx2

from prefect_sora.errors import SoraError, UnavailableError, VideoNotFoundError
from prefect_sora.handles import Character
from prefect_sora.requests.reference import Reference
from prefect_sora.requests.video import DERIVED, VideoRequest
from prefect_sora.servers import openai_sdk as openai
from prefect_sora.servers.profiles.profile import PROVIDER
from prefect_sora.servers.protocol.downloads import Content, opened
from prefect_sora.servers.protocol.http.arrivals import json_of
from prefect_sora.servers.protocol.payload import names_source_by_url, order, path_of, segment
from prefect_sora.servers.protocol.send_times import Departure
from prefect_sora.servers.protocol.status_errors import (
    clock_ahead_s,
    error_of,
    not_the_protocol,
    poll_after_s,
)
from prefect_sora.servers.protocol.transport import Transport
from prefect_sora.servers.protocol.video_object import (
    ServedModel,
    Video,
    VideoPage,
    read_model,
    read_page,
    read_video,
)
from prefect_sora.servers.request_checks import needs
from prefect_sora.servers.server import Server


class VideoClient(Transport):
    """The video protocol's calls on one server.

    Take one from `connections.connect`, which keeps one per server and event loop.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.watcher: object | None = None  # set by `watcher_of`; lives as long as this

    async def submit(
        self,
        request: VideoRequest,
        reference: Reference | None,
        idempotency_key: str,
        departure: Departure | None = None,
        *,
        render_key: str = "{key}",
        callback_url: str | None = None,
    ) -> Video:
        """Send the one request that costs money.

        Args:
            request: What is to be rendered.
            reference: The picture that it starts from.
            idempotency_key: For servers that recognise a repeated request by it.
            departure: Until when it may leave; tells afterwards when it left.
            render_key: Takes the place of {key} in the URL that is told of the job's end: what
                arrives there settles the render, though the answer was lost.
            callback_url: The URL to tell of it, unless the request says one.

        Raises:
            ApiError: Refused, so nothing was paid, except `UnavailableError`
                without `never_sent`: it may have been accepted.
        """
        server = self.server
        if departure:
            departure.begin()
        source_url = await self._source_url(request)
        asked = order(request, server, reference, source_url, callback_url)
        told_of = server.profile.callback_field
        if told_of and isinstance(url := asked.fields.get(told_of), str):
            asked.fields[told_of] = url.replace("{key}", render_key)
        headers = {
            "Idempotency-Key": idempotency_key,
            "x-litellm-num-retries": "0",  # its proxy would repeat a create by itself
        }
        files: list[Any] | None = [] if asked.picture or server.profile.form_only else None
        if files is not None and (one := asked.picture):
            name = next(iter(server.profile.image_fields))
            files.append((name, (one.filename, one.data, one.content_type)))
        try:
            response = await self.post(
                asked.path,
                asked.fields,
                files,
                headers,
                verb=request.kind,
                departure=departure,
                timeout_seconds=server.profile.create_seconds,
                either=asked.picture is None,
            )
        except SoraError as error:
            if source_url:  # it is signed, and a server may repeat what it could not fetch
                error.message = error.message.replace(source_url, "********")
            raise
        video = read_video(json_of(response), server.profile, headers=response.headers)
        if video is None:
            raise not_the_protocol(
                self.server, response, verb=request.kind, is_an_api=await self.is_an_api()
            )
        return video

    async def _source_url(self, request: VideoRequest) -> str | None:
        """Ask where the file of a source lies, for servers that know it by its address alone.

        Raises:
            ApiError: The server does not say; nothing was sent that costs money.
        """
        profile, source = self.server.profile, request.source_video_id
        if source is None or request.kind not in DERIVED or not names_source_by_url(profile):
            return None
        try:
            video = await self.retrieve(source)
        except UnavailableError as error:
            raise UnavailableError(error.message, status=error.status, never_sent=True) from None
        if video.urls:
            return video.urls[0]
        raise VideoNotFoundError(
            f"The {profile.name} server {self.server.label} has no file of video {source} any "
            f"more: it is {video.status}. It starts from the file alone.",
            video_id=source,
            next_step="Render its source anew, or go on from the last frame of the kept clip.",
        )

    async def create_character(self, name: str, filename: str, video: bytes) -> Character:
        """Send a video from which the server makes a character that prompts can name.

        Raises:
            ApiError: Refused, or no answer came.
        """
        files = [("video", (filename, video, "video/mp4"))]
        response = await self.post("/videos/characters", {"name": name}, files, verb="character")
        return self._character(response, name)

    async def character(self, character_id: str) -> Character:
        """Ask for one character.

        Raises:
            VideoNotFoundError: The server knows no such character.
            ApiError: Anything else that is none.
        """
        try:
            response = await self.get(f"/videos/characters/{segment(character_id)}")
        except openai.APIError as error:
            raise error_of(self.server, error, verb="retrieve") from None
        return self._character(response, "")

    def _character(self, response: httpx2.Response, name: str) -> Character:
        body = json_of(response)
        if not isinstance(body, Mapping) or not isinstance(body.get("id"), str):
            raise not_the_protocol(self.server, response, verb="character")
        created_at = body.get("created_at")
        return Character(
            id=body["id"],
            name=str(body.get("name") or name),
            provider=self.server.label,
            created_at=created_at if isinstance(created_at, (int, float)) else None,
        )

    async def retrieve(self, video_id: str, *, anew: bool = False) -> Video:
        """Ask for one job.

        Args:
            video_id: The job.
            anew: End the connection with the answer: the next may reach another replica.

        Raises:
            VideoNotFoundError: The server knows no such job.
            ApiError: Anything else that is no job.
        """
        try:
            more = {"Connection": "close"} if anew else None
            path = path_of(self.server.profile, "retrieve", video_id)
            response = await self.get(path, more=more)
        except openai.APIStatusError as error:
            # Some servers answer for a failed job with an error status and the job in it.
            body = json_of(error.response)
            video = read_video(body, self.server.profile, asked_for=video_id)
            is_job = isinstance(body, Mapping) and (
                body.get("object") == "video" or "status" in body
            )
            if video and is_job:
                return video
            raise error_of(self.server, error, verb="retrieve", video_id=video_id) from None
        except openai.APIError as error:
            raise error_of(self.server, error, verb="retrieve", video_id=video_id) from None
        body, pause_s = json_of(response), poll_after_s(response.headers)
        video = read_video(body, self.server.profile, pause_s, asked_for=video_id)
        if video is None and response.status_code == 202 and (body or not response.content):
            # RFC 9110, 15.3.3: it is not done yet.
            return Video.model_validate({"id": video_id, "status": "pending"})
        if video is None:
            raise not_the_protocol(self.server, response, verb="retrieve")
        return video

    async def providers(self) -> tuple[str, ...]:
        """Name those behind a gateway that has a list for each: its models' names tell them.

        Raises:
            ApiError: No such list, or no access.
        """
        named = (model.id.partition("/") for model in await self.models())
        return tuple(dict.fromkeys(provider for provider, slash, _ in named if slash))

    async def list_page(
        self,
        after: str | None = None,
        limit: int = 100,
        order: Literal["desc", "asc"] = "desc",
        *,
        model: str | None = None,
    ) -> VideoPage:
        """Ask for one page of the jobs, newest first unless asked otherwise.

        Args:
            after: The job that the page begins behind.
            limit: The most jobs on it.
            order: `asc`: the oldest first.
            model: Whose provider's list, where each has one of its own; None: the first one's.

        Raises:
            RejectedError: This server does not list.
            ApiError: Anything else that is no page.
        """
        params: dict[str, object] = {"limit": limit, "order": order}
        params |= await self._list_query(model)
        if after:
            params["after"] = after
        try:
            response = await self.get(path_of(self.server.profile, "list"), params)
        except openai.APIError as error:
            raise error_of(self.server, error, verb="list") from None
        can, told = self.server.profile, response.headers
        page = read_page(json_of(response), can, poll_after_s(told), clock_ahead_s(told))
        if page is None:
            raise not_the_protocol(self.server, response, verb="list")
        return page

    async def _list_query(self, model: str | None) -> dict[str, str]:
        query = self.server.profile.list_query
        if not self.server.profile.lists_by_provider:
            return dict(query)
        provider = (model or "").partition("/")[0] or next(iter(await self.providers()), "")
        return {name: value.replace(PROVIDER, provider) for name, value in query.items()}

    async def models(self) -> list[ServedModel]:
        """Ask which models the server names; harmless, and proves address and key.

        Raises:
            ApiError: No such list, or no access.
        """
        try:
            response = await self.get("/models")
        except openai.APIError as error:
            raise error_of(self.server, error, verb="models") from None
        body = json_of(response)
        if not isinstance(body, Mapping) or not isinstance(body.get("data"), list):
            raise not_the_protocol(self.server, response, verb="models", is_an_api=False)
        return [read_model(m) for m in body["data"] if isinstance(m, Mapping) and "id" in m]

    async def delete(self, video_id: str) -> None:
        """Delete one video at the server; one that is gone already is fine.

        Raises:
            InvalidRequestError: This server deletes nothing; it was not asked.
            ApiError: Refused.
        """
        needs(
            self.server,
            "can_delete",
            "no delete",
            "It keeps its videos as long as it does; the store's are not touched by that",
        )
        try:
            await self.remove(path_of(self.server.profile, "delete", video_id))
        except openai.NotFoundError:
            return
        except openai.APIError as error:
            raise error_of(self.server, error, verb="delete", video_id=video_id) from None

    @contextlib.asynccontextmanager
    async def content(
        self, video_id: str, variant: str | None = None, url: str | None = None
    ) -> AsyncIterator[Content]:
        """Open the finished file, or one of its variants, as a stream.

        Args:
            video_id: The finished video.
            variant: `thumbnail` or `spritesheet`; None for the video itself.
            url: Where the server said that the file lies, in place of `/content`.

        Raises:
            ApiError: No such file, or not now.
        """
        async with opened(self.http, self.server, video_id, variant, url) as content:
            yield content
