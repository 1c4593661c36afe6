"""Trees of plain types: dictionaries, lists, tuples, scalars and tensors, as files hold them."""

from typing import Any

Tree = dict[str, Any]
