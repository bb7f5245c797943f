"""Metrics for Prometheus: how runs end, how fresh the data is, what waits and what was refused."""
