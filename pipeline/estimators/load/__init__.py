"""One replica under open-loop arrivals: what a request sees when others are there.

Closed forms of our study of load, held there and in benchmarks/load_judge.py against a discrete-event
simulation. Time goes in steps; a step takes `step_base_s`, `step_sequence_s` for each sequence that
decodes, and the prompts that join it. The batch, the step and the time in the replica depend on one
another: a pass turns a guess of four columns into the next (`token_s`, `peakedness`, `interference_s`,
`prefill_batch`), and a few passes settle them.

Range: mixed or prefill-first scheduling, lognormal lengths, gamma arrivals; no priorities, no sessions.
Where places or cache run short, or the replica is nearly full, latencies are not reproducible even by
simulation: `load_verdict` says so.
"""
