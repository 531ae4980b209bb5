"""Encoding: clips of any make become pictures and sound of one make, encoded anew."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
from av.container import OutputContainer

from prefect_sora.media.frames import OpenVideo
from prefect_sora.media.join.copying import Packets, Track
from prefect_sora.media.join.probing import Footage, Sound

_QUALITY: Final = {"preset": "veryfast", "crf": "18"}
"""x264's: no loss that is seen, at some 150 pictures of 720p a second on two cores. Ours."""

_BITS_PER_CHANNEL: Final = 96_000
"""Of AAC, a second: what is called transparent. Ours."""

_GAP_SECONDS: Final = 0.005
"""Where sound pauses for longer, the pause is kept. Ours: an ear notices twice as much."""

_BT709: Final = 1


class EncodedPicture(Track):
    """Pictures of one size and rate: scaled, between black bars where the shape differs."""

    def __init__(self, film: OutputContainer, first: Footage) -> None:
        # x264 takes even sides alone.
        self._width, self._height = (side + side % 2 for side in first.size)
        self._rate = first.rate
        self._stream: Any = film.add_stream("libx264", rate=first.rate)
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt, self._stream.options = "yuv420p", dict(_QUALITY)
        context = self._stream.codec_context
        context.thread_type = "FRAME"  # slices, the default, are slower and larger
        context.color_range = context.colorspace = _BT709  # limited range has the same number
        context.color_primaries = context.color_trc = _BT709
        self._seconds = Fraction(0)
        self._shown = self._until = 0
        self._graph: Any = None
        self._decoder: Any = None
        self._last: av.VideoFrame | None = None
        self._starts = 0

    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """Begin a clip with a decoder and filters of its own."""
        self._seconds += clip.seconds
        self._until = round(self._seconds * self._rate)
        self._starts, self._last = clip.start, None
        self._graph, self._decoder = self._filters(video), video.stream

    def take(self, packet: "av.Packet[Any] | None") -> Packets:
        """Decode a packet, and give what its frames become when encoded."""
        for frame in self._decoder.decode(packet):
            if frame.pts is not None and frame.pts >= self._starts:
                frame.pts -= self._starts
                self._graph.vpush(frame)
                yield from self._encoded()

    def end(self) -> Packets:
        """End the clip, its last picture repeated up to the clip's length."""
        yield from self.take(None)  # what the decoder still holds
        self._graph.vpush(None)
        yield from self._encoded()
        while self._last is not None and self._shown < self._until:
            yield from self._show(self._last)

    def finish(self) -> Packets:
        """Give what the encoder still holds."""
        yield from self._stream.encode(None)

    def _filters(self, video: OpenVideo) -> Any:
        width, height = self._width, self._height
        graph: Any = av.filter.Graph()
        steps = (
            graph.add_buffer(template=video.stream, time_base=video.stream.time_base),
            graph.add("fps", f"{self._rate}:start_time=0"),
            graph.add(
                "scale",
                f"{width}:{height}:force_original_aspect_ratio=decrease:flags=lanczos:"
                "out_color_matrix=bt709:out_range=tv",
            ),
            graph.add("pad", f"{width}:{height}:(ow-iw)/2:(oh-ih)/2"),
            graph.add("setsar", "1"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        )
        graph.link_nodes(*steps).configure()
        return graph

    def _encoded(self) -> Iterator["av.Packet[Any]"]:
        while True:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            self._last = frame
            if self._shown < self._until:
                yield from self._show(frame)

    def _show(self, frame: av.VideoFrame) -> Iterator["av.Packet[Any]"]:
        frame.pts, frame.time_base = self._shown, 1 / self._rate
        frame.pict_type = 0  # the encoder's choice, not the clip's
        self._shown += 1
        yield from self._stream.encode(frame)


class EncodedSound(Track):
    """Sound of one rate and layout, as long as the pictures: cut, or filled with silence."""

    def __init__(self, film: OutputContainer, first: Sound) -> None:
        self._rate, self._layout = first.rate, first.layout
        self._stream: Any = film.add_stream("aac", rate=first.rate, layout=first.layout)
        self._stream.bit_rate = _BITS_PER_CHANNEL * self._stream.layout.nb_channels
        self._waiting = av.AudioFifo()
        self._seconds = Fraction(0)
        self._heard = self._sent = self._until = self._skip = 0
        self._resampler: Any = None
        self._decoder: Any = None
        self._expected, self._is_first = Fraction(0), True

    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """Begin a clip with a decoder and a resampler of its own."""
        self._seconds += clip.seconds
        self._until = round(self._seconds * self._rate)
        self._expected, self._is_first, self._skip = clip.starts_at, True, 0
        self._decoder = next(iter(video.container.streams.audio), None)
        self._resampler = av.AudioResampler("fltp", self._layout, self._rate)

    def take(self, packet: "av.Packet[Any] | None") -> Packets:
        """Decode a packet and resample it; pauses become silence, early samples are cut."""
        for frame in self._decoder.decode(packet):
            if frame.pts is not None and frame.time_base is not None:
                at = frame.pts * frame.time_base
                if at - self._expected > _GAP_SECONDS:
                    self._silence(round((at - self._expected) * self._rate))
                elif self._is_first:
                    self._skip = max(0, round((self._expected - at) * self._rate))
                self._is_first = False
                self._expected = at + Fraction(frame.samples, frame.sample_rate)
            for same in self._resampler.resample(frame):
                self._hear(same)
        yield from self._encoded()

    def end(self) -> Packets:
        """End the clip, filled with silence up to the length of its pictures."""
        if self._decoder is not None:
            yield from self.take(None)
            for same in self._resampler.resample(None):
                self._hear(same)
        self._silence(self._until - self._heard)
        yield from self._encoded()

    def finish(self) -> Packets:
        """Give the samples that still wait, and what the encoder holds."""
        yield from self._encoded(partial=True)
        yield from self._stream.encode(None)

    def _hear(self, frame: av.AudioFrame) -> None:
        """Take a frame's samples, less those before the clip's beginning and after its end."""
        cut = av.AudioFifo()
        frame.pts = None
        cut.write(frame)
        if early := min(self._skip, cut.samples):
            cut.read(early)
            self._skip -= early
        wanted = min(cut.samples, self._until - self._heard)
        if wanted > 0 and (kept := cut.read(wanted)):
            kept.pts = None
            self._waiting.write(kept)
            self._heard += wanted

    def _silence(self, samples: int) -> None:
        samples = min(samples, self._until - self._heard)
        while samples > 0:
            some = min(samples, self._rate)
            frame = av.AudioFrame("fltp", self._layout, some)
            frame.sample_rate = self._rate
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            self._waiting.write(frame)
            self._heard, samples = self._heard + some, samples - some

    def _encoded(self, *, partial: bool = False) -> Iterator["av.Packet[Any]"]:
        size = self._stream.codec_context.frame_size or 1024
        while self._waiting.samples >= size or (partial and self._waiting.samples):
            frame = self._waiting.read(size, partial=partial)
            if frame is None:
                return
            frame.pts, frame.time_base = self._sent, Fraction(1, self._rate)
            self._sent += frame.samples
            yield from self._stream.encode(frame)
