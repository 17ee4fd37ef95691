"""One module per verb; each ``once(tenant)`` does what is due now and returns a :class:`bridge.tenant.Progress`."""
