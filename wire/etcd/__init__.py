"""The one connection to etcd; nothing else imports etcd3.

etcd3 0.12 is kept behind this package because its calls have no time-out by default, its watch
never recovers, and it knows one endpoint only. Its generated messages need protobuf's Python
implementation, which must be chosen before protobuf is first imported.
"""

import os

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

from wire.etcd.changes import ChangeStream
from wire.etcd.connection import Etcd
from wire.etcd.stored import (
    Answer,
    Change,
    Condition,
    EtcdUnreachable,
    KeyValue,
    Lease,
    LeaseLife,
    Listing,
    Write,
)

__all__ = [
    "Answer",
    "Change",
    "ChangeStream",
    "Condition",
    "Etcd",
    "EtcdUnreachable",
    "KeyValue",
    "Lease",
    "LeaseLife",
    "Listing",
    "Write",
]
