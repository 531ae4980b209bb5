"""Storm: renders are handed out while workers and the renderer are killed; then comes calm."""

import re
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from multiprocessing.connection import wait
from random import Random
from time import monotonic

from benchmarks.chaos.orders import Answer, Order, Place
from benchmarks.chaos.victims import VideoServer, Worker, hire

RACED = 0.25
"""The share of the renders that two workers are handed at once."""

_TICK_SECONDS = 0.1
_LOOK_SECONDS = 0.5
_LONGEST_DOWN_SECONDS = 2.0
_AGAIN_SECONDS = 1.0


@dataclass
class Tally:
    """What happened.

    Attributes:
        told: Of each render that was asked for, what its runs have returned.
        raced: How many were handed to two workers at once.
        kept_in_storm: How many were kept before the calm.
        runs: How many runs there were, those that died too.
        errors: Runs that ended in an error, by kind.
        doubts: Why runs ended in doubt.
        decided: Renders that a person had to decide, once it was calm.
        said: What doubts said, and errors that no such day explains.
        workers_killed: How often we killed one.
        workers_died: How often one died by itself.
        renderer_killed: How often we killed it.
        renderer_died: How often it died by itself.
        peak_bytes: The most memory that any worker has had.
        storm_s: How long it stormed.
        calm_s: How long the rest took.
    """

    told: dict[int, set[tuple[str, str]]] = field(default_factory=dict)
    raced: int = 0
    kept_in_storm: int = 0
    runs: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    decided: int = 0
    said: list[str] = field(default_factory=list)
    workers_killed: int = 0
    workers_died: int = 0
    renderer_killed: int = 0
    renderer_died: int = 0
    peak_bytes: int = 0
    storm_s: float = 0.0
    calm_s: float = 0.0


@dataclass
class Storm:
    """One run of it.

    Attributes:
        renders: How many there are, if need be in the calm; None for as many as the time allows.
        at_once: How many a worker is handed at a time.
        worker_lives_s: The mean time between two deaths of workers.
        renderer_lives_s: The mean time from the renderer's first answer to its death.
    """

    place: Place
    renderer: VideoServer
    chance: Random
    renders: int | None
    workers: int
    at_once: int
    worker_lives_s: float
    renderer_lives_s: float
    tally: Tally = field(default_factory=Tally)
    _staff: list[Worker] = field(default_factory=list)
    _again: list[tuple[float, int]] = field(default_factory=list)
    _calm: bool = False
    _for_a_person: set[int] = field(default_factory=set)

    def rage(self, seconds: float) -> None:
        """Render, kill and hinder for so long, or until all is kept."""
        self._start_renderer()
        self.renderer.is_up()
        began = monotonic()
        kill_worker_at = began + self._soon(self.worker_lives_s)
        kill_renderer_at = start_renderer_at = inf
        look_at = began
        self._staff = [hire(self.place) for _ in range(self.workers)]
        while (now := monotonic()) < began + seconds and not self._all_is_done():
            if now >= kill_worker_at:
                self._replace(self.chance.choice(self._staff))
                self.tally.workers_killed += 1
                kill_worker_at = now + self._soon(self.worker_lives_s)
            if now >= kill_renderer_at:
                self.renderer.kill()
                self.tally.renderer_killed += 1
                kill_renderer_at = inf
                start_renderer_at = now + self.chance.uniform(0, _LONGEST_DOWN_SECONDS)
            elif not self.renderer.runs and (now >= start_renderer_at or start_renderer_at == inf):
                self.tally.renderer_died += start_renderer_at == inf
                self._start_renderer()
                start_renderer_at = inf
            if now >= look_at and self.renderer.runs:
                look_at = now + _LOOK_SECONDS
                # It lives from its first answer on: it takes longer to start on a busy machine.
                if self.renderer.count() and kill_renderer_at == inf:
                    kill_renderer_at = now + self._soon(self.renderer_lives_s)
            self._step()
        self.tally.storm_s = monotonic() - began
        self.tally.kept_in_storm = sum(map(bool, self.tally.told.values()))

    def calm(self, seconds: float) -> None:
        """Let everything go right, and bring every render that was asked for to its end."""
        began = monotonic()
        self._calm = True
        self.renderer.kill()
        self.renderer.start()
        self.renderer.is_up()
        while monotonic() < began + seconds and not self._all_is_done():
            self._step()
        self.tally.calm_s = monotonic() - began

    def end(self) -> None:
        """End the workers."""
        for worker in self._staff:
            worker.kill()
        self._staff = []

    def _soon(self, mean_s: float) -> float:
        return self.chance.expovariate(1 / mean_s)

    def _start_renderer(self) -> None:
        self.renderer.start(self.place.patience_s, seed=str(self.chance.random()))

    def _all_is_done(self) -> bool:
        doing = self._again or any(worker.doing for worker in self._staff)
        return not (doing or self._is_more())

    def _is_more(self) -> bool:
        """Whether there are renders that were never handed out."""
        return not self._calm if self.renders is None else len(self.tally.told) < self.renders

    def _step(self) -> None:
        """Hand out what there is to do, and hear what has become of it."""
        for worker in self.chance.sample(self._staff, len(self._staff)):
            while len(worker.doing) < self.at_once:
                number = self._next_for(worker)
                if number is None:
                    break
                self.tally.runs += 1
                worker.hand(Order(number, decided=number in self._for_a_person))
        ready = wait(
            [end for w in self._staff for end in (w.orders, w.process.sentinel)], _TICK_SECONDS
        )
        for worker in [*self._staff]:
            if worker.orders in ready or worker.process.sentinel in ready:
                self._hear(worker)

    def _next_for(self, worker: Worker) -> int | None:
        now = monotonic()
        for index, (due, number) in enumerate(self._again):
            if due <= now and number not in worker.doing:
                del self._again[index]
                return number
        if not self._is_more():
            return None
        number = len(self.tally.told)
        self.tally.told[number] = set()
        if self.chance.random() < RACED:
            self.tally.raced += 1
            self._again.append((now, number))
        return number

    def _hear(self, worker: Worker) -> None:
        try:
            while worker.orders.poll():
                self._note(worker, worker.orders.recv())
        except (EOFError, OSError):
            self.tally.workers_died += 1
            self._replace(worker)

    def _note(self, worker: Worker, answer: Answer) -> None:
        worker.doing.discard(answer.number)
        self.tally.peak_bytes = max(self.tally.peak_bytes, answer.peak_bytes)
        if answer.video_id and answer.sha256:
            self.tally.told[answer.number].add((answer.video_id, answer.sha256))
            return
        self.tally.errors[str(answer.error)] += 1
        if answer.error == "UncertainSubmitError":
            self._note_a_doubt(answer)
        if answer.error not in _EXPECTED:
            self.tally.said.append(f"render {answer.number}: {answer.error}: {answer.message}")
        self._again.append((monotonic() + _AGAIN_SECONDS, answer.number))

    def _note_a_doubt(self, answer: Answer) -> None:
        self.tally.doubts[why(answer.message)] += 1
        # In the storm the next run may know more; once it is calm, it is a person's turn.
        if self._calm and self.place.truth and answer.number not in self._for_a_person:
            self._for_a_person.add(answer.number)
            self.tally.decided += 1

    def _replace(self, worker: Worker) -> None:
        """Kill a worker, put another in its place, and have done again what it was doing."""
        worker.kill()
        self._again += [(0.0, number) for number in worker.doing]
        self._staff[self._staff.index(worker)] = hire(self.place)


def why(message: str) -> str:
    """What a doubt's message gives as its reason, without what differs from run to run."""
    _, _, reason = message.partition("its answer was lost. ")
    reason = re.split(r" \(render |(?<=[.]) Look at", reason or message)[0]
    return re.sub(r"\b(?:job\.\d+~\w+|video_\w+|[0-9a-f]{12})(?:, )?", "ID ", reason)[:160]


_EXPECTED = frozenset(
    {
        "DownloadError",
        "CorruptVideoError",
        "RateLimitError",
        "UnavailableError",
        "RenderTimeoutError",
        "StorageError",
    }
)
"""What a day like this does to a run, whose render goes on in the next."""
