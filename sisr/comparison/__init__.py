"""Attention mechanisms side by side: statistics, crops, and the page that one sends to a colleague."""
