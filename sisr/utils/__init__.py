"""Used everywhere, and independent of super-resolution: `errors`, `files`, `provenance`, `gpus`, `memory`."""
