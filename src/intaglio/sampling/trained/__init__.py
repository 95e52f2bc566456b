"""Small trained parts of sampling: the contract of their trainers, one trainer a file, and what trainers share."""
