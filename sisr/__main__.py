"""Entry point of `python -m sisr`."""

from sisr.cli import main

raise SystemExit(main())
