"""Tests of measurements, calibration, the experiment and the simulation."""
