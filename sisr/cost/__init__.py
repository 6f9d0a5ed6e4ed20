"""Parameters, operations, time and memory of mechanisms and networks."""
