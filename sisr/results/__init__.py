"""Finished runs (`runs`), table cells (`cells`), statistics, one test of significance, and the paper's numbers."""
