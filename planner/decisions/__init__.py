"""Rules of choice: what is recommended, how it is explained, which stored run answers."""
