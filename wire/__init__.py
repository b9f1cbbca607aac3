"""What Godwit's programs say to one another: messages, etcd, streams."""
