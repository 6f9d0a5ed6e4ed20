"""Configuration: one training run (`run`), the runs of a preset (`presets`) and of a comparison (`comparison`).

Only the standard library, YAML and jsonschema are imported, so that the workflow can be planned without torch.
"""

from sisr.config.run import Network, Run, Training

__all__ = ["Network", "Run", "Training"]
