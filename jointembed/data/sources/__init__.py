"""Tables of other libraries, each as columns of Arrow or as lists: a file for each kind of source."""
