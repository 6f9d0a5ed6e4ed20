"""What ENLA really computes: the noise of its kernel, its distance from exact attention, what it attends to instead."""
