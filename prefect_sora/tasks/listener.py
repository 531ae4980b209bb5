"""Listener: hears of each step of a render, for a program that shows renders its own way."""

from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.servers.protocol.video_object import Video


class Listener:
    """Hears of what the flows do inside a block of `artifacts.listening`."""

    def submitted(self, job: VideoJob) -> None:
        """A render was accepted, or found again."""

    def progressed(self, job: VideoJob, video: Video) -> None:
        """The server told something new about the job."""

    def kept(self, video: StoredVideo) -> None:
        """The video is in the store."""

    def counted(self, counts: Counts) -> None:
        """A batch has made progress."""

    def stitching(self, title: str, shots: int) -> None:
        """A film's shots are there, and are being joined."""
