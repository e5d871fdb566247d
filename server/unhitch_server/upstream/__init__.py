"""The engine behind the proxy: connections, replicas, and their faults."""
