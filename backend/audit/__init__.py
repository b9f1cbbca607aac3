"""The audit: what people do, entered with the change that it makes."""
