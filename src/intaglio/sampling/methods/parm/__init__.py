"""PARM: candidates of a picture that are judged on the way, and dropped where they have no potential."""
