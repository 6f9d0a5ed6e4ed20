"""Version 0.1's name of `models.attention.softmax_rows`, for mechanisms made from its template; removed in the next."""

from models.attention._maps import softmax_rows

__all__ = ["softmax_rows"]
