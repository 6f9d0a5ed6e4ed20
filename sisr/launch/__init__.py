"""A preset on one machine without Snakemake: what is to be made, many commands at once, within a limited time."""
