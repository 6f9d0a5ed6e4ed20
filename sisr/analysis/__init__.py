"""What ENLA computes: kernel noise, distance from exact attention, attended positions."""
