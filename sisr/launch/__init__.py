"""A preset on one machine without Snakemake: several commands at once, with a time limit."""
