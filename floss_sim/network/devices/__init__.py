"""Devices of clients: how long they compute for the operations of local training."""
