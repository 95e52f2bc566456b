"""Methods of protection, one a file."""
