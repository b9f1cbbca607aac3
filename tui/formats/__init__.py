"""How figures and tables are written for people, in the console and on the command line alike."""
