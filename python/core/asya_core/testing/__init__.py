"""Shipped test tools: the contract suite, the in-memory twin, builders. No product code imports them."""
