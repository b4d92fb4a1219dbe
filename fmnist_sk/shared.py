"""Images that several fits share."""
from fmnist_sk._data.shared import SharedImages

__all__ = ["SharedImages"]
