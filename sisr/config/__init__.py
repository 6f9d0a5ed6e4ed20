"""What is to be run: one training (`run`), a preset's runs (`presets`), a comparison's runs (`comparison`).

Only the standard library, YAML and jsonschema are used here, so that the workflow is planned without torch.
"""

from sisr.config.run import Network, Run, Training

__all__ = ["Network", "Run", "Training"]
