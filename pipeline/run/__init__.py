"""Runs on disk: jobs, partitions, and the files that tell whether a run is whole."""
