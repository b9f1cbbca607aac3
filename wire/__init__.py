"""What Godwit's programs say to one another: messages, the etcd key space and connection, streams."""
