"""Words of a prompt: which places of a drawn picture each is about."""
