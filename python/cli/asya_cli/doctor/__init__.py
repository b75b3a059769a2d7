"""Is all here that Asya needs? Checks of this machine, the broker, the storage, the gateway, the cluster: a line and a remedy each."""
