"""Maps of collections of pictures: a tree over all of them, which a person opens box by box."""
