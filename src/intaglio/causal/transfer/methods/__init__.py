"""Methods that predict outcomes in an unseen environment, one file each."""
