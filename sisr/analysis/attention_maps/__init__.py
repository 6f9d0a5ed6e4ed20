"""Attention maps: the weights of one position of an image, for any network whose mechanism provides them."""
