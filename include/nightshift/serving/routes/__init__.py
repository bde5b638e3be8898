"""What is asked and what is answered, an address a module; `query` reads what comes in, `lists` decides whose list."""
