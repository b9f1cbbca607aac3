"""What Godwit's programs say to one another: messages, etcd, streams."""

import sys

# where click and rich are installed httpx imports a command line of its own, which takes as long
# to import as all the rest of httpx
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: cannot be imported
