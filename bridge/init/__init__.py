"""``bridge init``: writes a tenant's configuration, from options, from answers, and from what its accounts tell."""
