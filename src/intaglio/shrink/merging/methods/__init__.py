"""The methods of merging, one file each."""
