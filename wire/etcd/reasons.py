"""Why a call of etcd failed, in words."""

import etcd3
import grpc


def reason_of(error: Exception) -> str:
    """The clause for an error of etcd3 or grpc."""
    if isinstance(error, etcd3.exceptions.ConnectionTimeoutError):
        return "no answer in time"
    if isinstance(error, etcd3.exceptions.ConnectionFailedError):
        return "connection refused or broken"
    if isinstance(error, grpc.Call):
        return f"{error.code().name.lower()}: {error.details()}"
    return str(error) or type(error).__name__
