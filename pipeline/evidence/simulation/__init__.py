"""The judge of the closed forms of load: a replica simulated step by step."""
