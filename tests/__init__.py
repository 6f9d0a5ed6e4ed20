"""The tests, in folders of the same names as `sisr`'s."""
