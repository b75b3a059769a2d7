"""KEDA's trigger and authentication, one module per transport; they do not know each other."""
