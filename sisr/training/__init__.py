"""How a network is trained: `train`, and what it uses: `checkpoint`, `distributed`, `divergence`, `monitor`."""
