"""Image sets, from download to patches: `fetch`, `verify`, `prepare`, `store`, `pairs`, `patches`, `imresize`."""
