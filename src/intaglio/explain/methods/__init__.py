"""Methods that attribute a classifier's score to places of a picture, one file each."""
