"""The fleet in memory: what etcd and the agents say, and the views made of it."""
