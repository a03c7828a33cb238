"""The flat vector that is ranked, masked and sent: its layout, densities and top-k masks."""
