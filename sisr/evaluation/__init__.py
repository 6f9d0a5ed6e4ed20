"""How a network is measured: `evaluate`, `metrics`, `inference`, `upscalers`, `photos`, `crops`, `reference_checks`."""
