"""What attention attends to: the weights of one position of an image, for any network whose mechanism can tell them."""
