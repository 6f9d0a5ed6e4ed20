"""Finished runs, the statistics of their measurements, and the paper's numbers."""
