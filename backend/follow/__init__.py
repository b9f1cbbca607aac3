"""What feeds the fleet model: watches of etcd, and the event stream of each agent."""
