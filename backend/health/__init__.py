"""Health of hosts: leases as etcd has them, what changes, what operators decide, who is told."""
