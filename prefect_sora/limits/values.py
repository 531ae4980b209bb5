"""Values: what each limit is, in the order of a render's way, and why.

A line reads from its name on: `connect_seconds = 5.0  # to anything` is five seconds to connect to
anything. A value whose source is not named is this package's own choice.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

_KIB, _MIB = 2**10, 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may take how long, how often and how much, in the order of a render's way.

    Raises:
        ValueError: Seconds are less than 0, a count or a size is less than 1, or others could take
            a worker for dead that still waits for the answer to its create.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    # Files that users name.
    source_seconds: float = 60.0  # to load one: the largest picture at 1 MB a second
    picture_max_bytes: int = 50 * _MIB  # OpenAI's own limit (openapi.yaml, 2026-08-21)
    picture_max_pixels: int = 64 * _MIB  # twice an 8K frame (7680x4320); decoded, it takes 192 MiB
    document_max_bytes: int = 512 * _KIB  # YAML or JSON: a thousand shots; it takes ten seconds
    document_max_values: int = 500_000  # with its aliases written out
    template_max_bytes: int = 256 * _KIB  # eight times the longest prompt
    template_files: int = 50  # that one refers to, one through another
    template_seconds: float = 10.0  # to write a prompt
    template_memory_bytes: int = 256 * _MIB  # for that
    template_max_characters: int = 1_000_000  # written by a template that never ends
    table_max_bytes: int = 256 * _MIB  # some hundred thousand long prompts
    audio_max_bytes: int = 256 * _MIB  # a film's sound: twenty minutes as WAV, hours as MP3
    table_problems: int = 20  # broken rows that an error lists
    character_max_bytes: int = 100 * _MIB  # of the video that one is made from: it is sent whole

    # Connections to a server.
    connect_seconds: float = 5.0  # to anything
    read_seconds: float = 30.0  # of silence inside an answer, of a poll or of a download
    answer_seconds: float = 60.0  # for a whole answer, whatever trickles; not creates and files
    answer_max_bytes: int = 4 * _MIB  # unpacked: a job is some hundred bytes; JSON takes 20 times
    list_max_bytes: int = 16 * _MIB  # of a list: servers that do not page have thousands of jobs
    list_max_jobs: int = 10_000  # of them that are read: a second's work, and nothing else goes on
    message_max_characters: int = 4_000  # of what a server says went wrong; the rest is cut off
    id_max_characters: int = 1_000  # of a job: LiteLLM's, the longest known, have some 300
    pool_seconds: float = 60.0  # to wait for one of `connections`
    connections: int = 100  # at once, for all that costs nothing
    idle_connections: int = 20  # of them, kept open for the next request
    token_early_seconds: float = 300.0  # before its end a token is fetched anew: more than a call
    token_seconds: float = 60.0  # to fetch one: who gives them answers at once, or not at all

    # A reservation, and the create that is sent under it.
    lease_seconds: float = 180.0
    """How long a reservation speaks for a worker of whom nothing is heard. Its create leaves,
    is answered and is recorded within it; for pictures, whose answer takes longer, it is as much
    longer than that answer as it is longer than `create_seconds`."""
    leave_seconds: float = 5.0  # after its reservation a create begins to connect, or lapses
    create_seconds: float = 90.0
    """Longest answer to a create: a server decodes a picture and queues, no more. Where it takes
    longer, its profile's `longest_create_s`, after which it accepts none, has to be so, too."""
    silent_seconds: float = 15.0  # without an answer to a create, until a line says so
    record_seconds: float = 30.0  # left of the lease to record an answer of the last moment
    picture_seconds: float = 300.0  # to draw pictures: OpenAI says about two minutes (2026)
    slow_store_seconds: float = 1.0  # for one step at a store: from here on a create leaves later
    clock_step_seconds: float = 1.0  # back: from here on a reservation's own stamp is not believed
    departure_seconds: float = 60.0  # to leave, for what costs money and has no reservation
    creates_at_once: int = 100  # at one server, each with its own connection; others wait unsent
    job_max_bytes: int = 16 * _MIB  # of the answer to a create: a job is some hundred bytes
    connect_attempts: int = 4  # for a create that never left: over about four seconds
    submit_rounds: int = 3
    """How often one call sends a create that was shown not to be accepted, and how often it lets
    a reservation lapse."""
    look_pause_seconds: float = 0.25  # the first between two looks at what somebody else does
    look_pause_max_seconds: float = 2.0  # the longest of them
    retry_pause_seconds: float = 0.5  # the first after a refusal or a broken download; it doubles
    busy_pause_max_seconds: float = 5.0  # where a server says "too many" and not until when
    record_pauses_seconds: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    """Pauses between the attempts to record, at a store that fails, what was paid for."""
    step_pauses_seconds: tuple[float, ...] = (2.0, 10.0, 30.0)
    """Pauses before a step of a render is taken again that failed for the moment: as in a run."""
    cancelled_record_seconds: float = 5.0  # for a cancelled caller to wait for that record
    picture_fetch_attempts: int = 4  # for a picture that an answer names by its URL
    passing_turns: int = 3  # at one server, where other workers keep beginning anew
    passing_look_seconds: float = 0.5  # between looks at what they do with the same request
    passing_looks: int = 120  # until one that has chosen another picture is taken for dead

    # The search for the job of a create whose answer was lost.
    clock_slack_seconds: float = 60.0
    """What a job's time may be off by and still be in time, once the server's clock is told from
    its answer's Date: seconds are cut off, replicas differ."""
    list_pages: int = 50  # 5,000 jobs newer than the doubt, by any clock
    list_outage_seconds: float = 60.0  # to ask again for a list that fails for the moment
    list_outage_pause_seconds: float = 1.0  # between two of these questions
    list_reads: int = 3  # of a list that ends too early
    late_looks: int = 3
    """How many whole readings, late enough, have to show nothing until there is no job: replicas
    answer in turn, and may each list their own jobs alone."""
    search_pause_max_seconds: float = 5.0  # between two readings
    vanished_asked: int = 3  # jobs that a list no longer shows, asked for by name
    rival_seconds: float = 100.0  # to wait for a live worker that may claim it: a create and some

    # The wait for a job.
    deadline_seconds: float = 600.0
    """For 8 s of 720p where nobody says, and never less: what users of earlier clients know."""
    deadline_max_seconds: float = 86_400.0  # then the longest-lived of the servers' jobs are gone
    poll_min_seconds: float = 0.05  # between two questions, whatever was asked for
    poll_together_seconds: float = 0.02  # to wait for others who come at the same moment
    poll_max_seconds: float = 20.0  # where the growing pause ends: OpenAI's guide says 10 to 20 s
    backoff_max_seconds: float = 30.0  # after a failure, where no longer pause was asked for
    hint_max_seconds: float = 60.0
    """Longest pause that a server's word makes: meanwhile nobody sees that the video is there,
    and many a server forgets it within the hour."""
    last_look_seconds: float = 10.0
    """How long before its deadline a job is asked for once more, whatever pause the server wants;
    a tenth of the wait where that is less. It is time for two questions."""
    list_from: int = 3  # waiting jobs: then a page of the list is cheaper than single questions
    list_page_seconds: float = 30.0  # for one page, for which all who wait are waiting
    list_failures: int = 3  # while the same server answers for single jobs; then no more lists
    singles_at_once: int = 8  # jobs that one watcher asks for
    absent_answers: int = 6
    """How many in a row must say that a job is not known until that is believed: with five
    seconds between them there are 36 in a profile's `lost_after_s`, of which one at least reaches
    a replica that knows it."""
    absent_pause_seconds: float = 5.0  # the longest between two such questions
    estimate_tick_seconds: float = 2.0  # between two moves of an estimated progress
    estimate_renders: int = 10  # that the usual length is, about, the mean of
    closed_look_disk_seconds: float = 1.0
    """Between two looks, of one process that waits for webhooks, at which renders are open."""
    closed_look_seconds: float = 5.0  # the same in an object store, which charges for each
    cancel_seconds: float = 5.0  # for a cancelled wait to delete its job: who stops us gives more

    # What a server says that a render cost.
    cost_max_usd: float = 1_000.0  # for one: a longest clip of the dearest model costs some $100
    cost_times: float = 20.0
    """How far it may be from the estimate, either way: a size or a sound that nobody named makes a
    few times, and cents that are read as dollars a hundred times."""

    # A server's catalogue of models, without which everything goes on.
    catalogue_seconds: float = 5.0  # to read it, to its end
    catalogue_max_bytes: int = 4 * _MIB  # some thousand models
    catalogue_models: int = 5_000
    catalogue_fresh_seconds: float = 3600.0  # that it holds
    catalogue_again_seconds: float = 60.0  # after a failure, until it is asked for again

    # A file on its way from the server.
    downloads_at_once: int = 8  # from one server: more share its line, and all of them are late
    download_attempts: int = 5  # for a video whose bytes come cut or wrong
    download_pause_max_seconds: float = 60.0
    length_tolerance_seconds: float = 0.5  # of a clip: servers round to whole groups of frames
    """Longest pause between two of them, whatever the server asks for: it may forget the video
    meanwhile, and who waits for longer can run again."""
    video_max_bytes: int = 16_384 * _MIB  # whatever was asked for
    video_base_bytes: int = 256 * _MIB  # that any video may have
    video_pixel_second_bytes: float = 60.0
    """What a video may have besides, for each pixel and second that were asked for: sixty frames of
    a byte a pixel, some hundred times what services send."""
    headers_seconds: float = 60.0  # for all headers of an answer
    body_grace_seconds: float = 60.0  # for a body, whatever its size
    body_bytes_per_second: int = 16 * _KIB
    """The least that a body has to come at besides, pauses and resumes included. Eight fill a
    line of 1 Mbit/s, and thirty megabytes are there within the hour that servers keep a video."""
    body_resumes: int = 4  # of one body that is cut
    chunk_bytes: int = 64 * _KIB  # read of a body at a time
    chunk_seconds: float = 60.0  # for these: what drips is never silent for `read_seconds`
    redirects: int = 5  # of one download

    # The pictures of a kept video.
    still_max_bytes: int = 20 * _MIB  # of a server's thumbnail or spritesheet
    still_seconds: float = 60.0  # to fetch one; what comes later is drawn
    draw_seconds: float = 60.0
    """Longest drawing of them: twenty seconds of Full HD take about five, and the record of the
    video waits."""
    draw_frames: int = 5_000  # that are decoded for them: `one_pass_seconds` at 240 a second
    draw_memory_bytes: int = 1024 * _MIB  # for that: sixteen frames of 8K, which take 50 each
    guarded_answer_bytes: int = 256 * _MIB  # of a child that draws, which is not believed
    guarded_idle_seconds: float = 60.0  # that a child which draws waits for more to do
    stills_seconds: float = 300.0  # with their turn, where a frame or a store does not end
    one_pass_seconds: float = 20.0
    """Up to this length all of a video is decoded for its sheet: no service renders longer ones
    at once. Of a longer one keyframes are shown, which a seek finds."""
    moov_max_bytes: int = 16 * _MIB  # held: two hours of 60 frames a second with sound take 12

    # The store.
    record_threads: int = 16
    """They write small files, and wait for a disk or the network: so there may be more of them
    than processors."""
    look_threads: int = 16  # for small files that are read, and lists: a sweep asks thousands
    byte_threads: int = 16  # for videos on their way: those of two servers' `downloads_at_once`
    drawing_threads: int = 4  # but never more than processors: each takes one, and 30 MiB
    piece_bytes: int = 256 * _KIB  # that a thread moves: a hop for each chunk costs more than that
    part_bytes: int = 8 * _MIB  # of an upload, which holds two: S3 takes 10,000 of them, so 80 GB
    read_ahead_bytes: int = 512 * _KIB  # in an object store's file
    create_attempts: int = 8  # where the store leaves undecided who created a file
    create_pause_seconds: float = 0.05  # the first between two of them; it doubles
    records_at_once: int = 16  # renders or claims that one search or sweep reads
    folders_at_once: int = 256  # that a walk through a whole store holds
    charges_at_once: int = 32  # entries of a budget that are read back
    chains_remembered: int = 64  # of budgets; the oldest is read anew when needed
    charge_clock_seconds: float = 7200.0  # that a charge may be dated before its reservation
    attempts_remembered: int = 10_000  # and when this process began each
    mark_again_seconds: float = 600.0
    """After so long an attempt is marked as open anew, for others may have taken its marker for a
    dead one's: far less than `marker_seconds`, for clocks that differ."""
    marker_seconds: float = 86_400.0  # that the marker of an attempt stands which nobody closes
    look_at_all_seconds: float = 7 * 86_400.0  # between looks for renders of before there were any
    sweeps_at_once: int = 4  # videos that a sweep fetches, and doubts that it looks up
    sweep_looks_at_once: int = 8  # jobs that it asks for, to see which are forgotten soonest

    # Webhooks.
    webhook_max_bytes: int = 64 * _KIB  # of one: an event names a job, and takes less than 1 KiB
    webhook_seconds: float = 10.0  # for it to arrive
    webhooks_at_once: int = 100  # that are read; who comes beyond them is told to come back
    webhook_wait_seconds: float = 60.0  # for the server to say of the job what its event said
    webhook_looks_seconds: tuple[float, ...] = (1.0, 5.0, 20.0)
    """Pauses between looks for a render that nothing is recorded of yet: an event may come before
    the answer to its create."""
    webhooks_unknown: int = 1_000  # that are looked for so at once; others jobs' events come, too

    # What people see.
    progress_seconds: float = 2.0  # between updates of the UI: each costs its server some 20 ms
    log_seconds: float = 30.0  # between two lines about a batch
    rows_shown: int = 500  # on a batch's page, so that it stays quick; the files have all
    clips_shown: int = 50  # with a page each, which holds the clip: Prefect's database is no store
    said_characters: int = 300  # of an error, in a table
    inline_max_bytes: int = 4 * _MIB  # of a clip that is part of its page, and plays there
    stop_seconds: float = 8.0  # for a stopped command's work: more than `cancelled_record_seconds`
    exit_seconds: float = 6.0  # for its process, after that

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            least = 1 if isinstance(each.default, int) else 0
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(least <= number < math.inf for number in numbers):
                raise ValueError(f"{each.name} is {value}, and has to be {least} or more.")
        if self.send_seconds > self.max_send_seconds:
            raise ValueError(
                "lease_seconds has to be leave_seconds, connect_seconds, create_seconds and "
                "record_seconds together, or more: others would take a live worker for dead."
            )

    @property
    def send_seconds(self) -> float:
        """How long after its reservation a create leaves at the latest.

        That bounds when the create of a dead worker can be accepted. Later needs another
        reservation.
        """
        return self.leave_seconds + self.connect_seconds

    @property
    def max_send_seconds(self) -> float:
        """The same where the store is slow.

        A create that leaves then is answered, and recorded, before others may believe that its
        reservation is given up.
        """
        return self.lease_seconds - self.create_seconds - self.record_seconds
