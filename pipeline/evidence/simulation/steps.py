"""Who is in each step of a replica of continuous batching, as a process of simpy.

Sequences that decode all take every step, so one count of steps stands for all of them: a sequence is the count at
which it ends. Steps in which nobody comes or goes are taken in one stretch; their sum is that of an arithmetic series,
so the result is that of single steps.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy import Environment, Event

    from pipeline.evidence.simulation.replica import Replica

    Steps = Generator[Event, Any, None]


class Requests:
    """All requests, by their place: lengths, tokens made so far, and when the first and the last came."""

    def __init__(self, prompt_tokens: list[int], output_tokens: list[int]) -> None:
        """Nothing is made yet."""
        self.prompt, self.output = prompt_tokens, output_tokens
        self.made = [0] * len(prompt_tokens)
        self.first_s = [0.0] * len(prompt_tokens)
        self.last_s = [0.0] * len(prompt_tokens)

    def whole(self, request: int) -> int:
        """Tokens of a request when it has ended."""
        return self.prompt[request] + self.output[request]

    def known(self, request: int) -> int:
        """Tokens that are there: the prompt, and what was made."""
        return self.prompt[request] + self.made[request]


class Decoding:
    """The sequences that decode."""

    def __init__(self, requests: Requests, block_tokens: int) -> None:
        """Nobody decodes yet."""
        self.requests, self.block = requests, block_tokens
        self.steps = 0
        self.context = 0
        self.ends: dict[int, int] = {}
        self.order: list[tuple[int, int]] = []
        self.growing = [0] * block_tokens

    def __len__(self) -> int:
        """How many decode."""
        return len(self.ends)

    def join(self, request: int) -> None:
        """A request whose prompt is read, and which has later tokens to make."""
        requests = self.requests
        end = self.steps + requests.output[request] - requests.made[request]
        self.ends[request] = end
        heappush(self.order, (end, request))
        self.context += requests.known(request)
        self.growing[self.phase(request, end)] += 1

    def phase(self, request: int, end: int) -> int:
        """Count of steps, within a block, at which the request needs its next block."""
        return (end - self.requests.whole(request)) % self.block

    def leave(self, request: int) -> None:
        """A request that ends, or is put back: what it has made is kept."""
        end = self.ends.pop(request)
        requests = self.requests
        requests.made[request] = requests.output[request] - (end - self.steps)
        self.context -= requests.known(request)
        self.growing[self.phase(request, end)] -= 1

    def first_end(self) -> int:
        """Steps until the next one ends."""
        while self.ends.get(self.order[0][1]) != self.order[0][0]:
            heappop(self.order)
        return self.order[0][0] - self.steps

    def grown(self, steps: int) -> int:
        """Blocks that so many steps from now take."""
        rounds, rest = divmod(steps, self.block)
        at = self.steps % self.block
        return (
            rounds * len(self.ends)
            + sum(self.growing[at : at + rest])
            + sum(self.growing[: max(at + rest - self.block, 0)])
        )

    def fitting(self, steps: int, free: int) -> int:
        """Steps, up to so many, that the free blocks suffice for."""
        while steps > 1 and self.grown(steps) > free:
            steps = max(min(steps - 1, (free // len(self.ends) + 1) * self.block - 1), 1)
        return steps

    def advance(self, steps: int) -> list[int]:
        """Take so many steps, up to the next end; say who has ended."""
        self.steps += steps
        self.context += steps * len(self.ends)
        ended = []
        while self.order and self.order[0][0] <= self.steps:
            end, request = heappop(self.order)
            if self.ends.get(request) == end:
                ended.append(request)
                self.leave(request)
        return ended


class Server:
    """One replica at work."""

    def __init__(
        self, environment: Environment, interrupt: type[Exception], replica: Replica, requests: Requests
    ) -> None:
        """Begin idle; `interrupt` is what simpy raises in a process that is interrupted."""
        self.environment, self.replica, self.requests = environment, replica, requests
        self.interrupt = interrupt
        self.waiting: deque[int] = deque()
        self.held: dict[int, int] = {}
        """Blocks when admitted, by request, the oldest first."""
        self.reading: dict[int, int] = {}
        """Tokens that are read, by request."""
        self.decoding = Decoding(requests, replica.block_tokens)
        self.free = replica.blocks
        self.outstanding = 0
        self.may_interrupt = False
        self.wake: Event | None = None
        self.process = environment.process(self.work())

    def take(self, request: int) -> None:
        """A request arrives."""
        self.outstanding += 1
        self.waiting.append(request)
        if self.wake:
            self.wake.succeed()
            self.wake = None
        elif self.may_interrupt:
            self.may_interrupt = False
            self.process.interrupt()

    def work(self) -> Steps:
        """One step, or stretch of steps, after another."""
        while True:
            if not self.held and not self.waiting:
                self.wake = self.environment.event()
                yield self.wake
            put_back = not self.replica.prefills_first and self.make_room()
            chunks = self.chunks(admit=not put_back)
            if chunks:
                yield from self.read(chunks)
            else:
                put_back = put_back or (self.replica.prefills_first and self.make_room())
                yield from self.decode(single=put_back)

    # ----- who is in a step

    def make_room(self) -> bool:
        """Put the youngest back until the others' next tokens fit; whether anybody was."""
        if self.replica.reserves:
            return False
        put_back = False
        while self.decoding.grown(1) > self.free:
            self.put_back(next(reversed(self.held)))
            put_back = True
        return put_back

    def put_back(self, request: int) -> None:
        """Give up the cache of a request; all it knows is read again."""
        if request in self.decoding.ends:
            self.decoding.leave(request)
            self.free += self.replica.blocks_of(self.requests.known(request))
        else:
            self.free += self.held[request]
            del self.reading[request]
        del self.held[request]
        self.waiting.appendleft(request)

    def chunks(self, *, admit: bool) -> dict[int, int]:
        """Prompt tokens that the step reads, by request: begun ones first, then new ones as room allows."""
        budget = self.replica.step_tokens - (0 if self.replica.prefills_first else len(self.decoding))
        chunks: dict[int, int] = {}
        for request, read in self.reading.items():
            chunk = min(self.requests.known(request) - read, budget)
            if chunk > 0:
                chunks[request], budget = chunk, budget - chunk
        while admit and self.waiting and budget > 0 and len(self.held) < self.replica.slots:
            request = self.waiting[0]
            needed = self.replica.blocks_of(self.at_admission(request))
            if needed > self.free - self.taken_beside():
                break
            self.waiting.popleft()
            self.free -= needed
            self.held[request], self.reading[request] = needed, 0
            chunk = min(self.requests.known(request), budget)
            chunks[request], budget = chunk, budget - chunk
        return chunks

    def taken_beside(self) -> int:
        """Blocks that those that decode take in a step that reads."""
        return 0 if self.replica.reserves or self.replica.prefills_first else self.decoding.grown(1)

    def at_admission(self, request: int) -> int:
        """Tokens whose cache must be free for a request to be admitted."""
        return self.requests.whole(request) if self.replica.reserves else self.requests.known(request) + 1

    # ----- what a step takes

    def read(self, chunks: dict[int, int]) -> Steps:
        """A step that reads prompts; beside those that decode, or alone where prompts go first."""
        replica, decoding = self.replica, self.decoding
        beside = 0 if replica.prefills_first else len(decoding)
        pairs = sum(chunk * (self.reading[request] + chunk / 2) for request, chunk in chunks.items())
        seconds = replica.a_s + replica.b_s * (beside + len(chunks)) + replica.c_s * (decoding.context if beside else 0)
        yield self.environment.timeout(seconds + replica.d_s * sum(chunks.values()) + replica.e_s * pairs)
        if beside:
            self.advance(1)
        for request, chunk in chunks.items():
            self.reading[request] += chunk
            if self.reading[request] >= self.requests.known(request):
                del self.reading[request]
                self.first_token(request)

    def first_token(self, request: int) -> None:
        """The step that ends a prompt makes a token."""
        requests = self.requests
        if not requests.made[request]:
            requests.first_s[request] = self.environment.now
        requests.made[request] += 1
        if requests.made[request] < requests.output[request]:
            self.decoding.join(request)
        else:
            self.finish(request)

    def decode(self, *, single: bool) -> Steps:
        """Steps that only decode, until somebody ends or cache runs short; or until one arrives who may come in."""
        decoding, replica = self.decoding, self.replica
        steps = 1 if single else decoding.first_end()
        if not replica.reserves:
            steps = decoding.fitting(steps, self.free)
        first_s = replica.a_s + replica.b_s * len(decoding) + replica.c_s * decoding.context
        more_s = replica.c_s * len(decoding)
        began_s = self.environment.now
        self.may_interrupt = not self.waiting and len(self.held) < replica.slots
        try:
            yield self.environment.timeout(series(first_s, more_s, steps))
        except self.interrupt:
            passed_s = self.environment.now - began_s
            steps = min(steps_within(first_s, more_s, passed_s), steps)
            yield self.environment.timeout(max(series(first_s, more_s, steps) - passed_s, 0.0))
        self.may_interrupt = False
        self.advance(steps)

    def advance(self, steps: int) -> None:
        """Those that decode make so many tokens each."""
        if not self.replica.reserves:
            self.free -= self.decoding.grown(steps)
        for request in self.decoding.advance(steps):
            self.finish(request)

    def finish(self, request: int) -> None:
        """A request has its last token."""
        self.requests.last_s[request] = self.environment.now
        self.free += self.replica.blocks_of(self.requests.whole(request))
        del self.held[request]
        self.outstanding -= 1


def series(first_s: float, more_s: float, steps: int) -> float:
    """Time of so many steps, each longer than the one before by the same.

    >>> series(1.0, 0.5, 3)
    4.5
    """
    return steps * first_s + more_s * steps * (steps - 1) / 2


def steps_within(first_s: float, more_s: float, passed_s: float) -> int:
    """The least number of steps whose time is not below a time.

    >>> steps_within(1.0, 0.5, 2.6), steps_within(1.0, 0.5, 2.5), steps_within(1.0, 0.0, 0.2)
    (3, 2, 1)
    """
    half = first_s - more_s / 2
    guess = passed_s / first_s if more_s <= 0 else 2 * passed_s / (half + sqrt(half * half + 2 * more_s * passed_s))
    steps = max(ceil(guess) - 1, 1)
    while series(first_s, more_s, steps) < passed_s:
        steps += 1
    return steps
