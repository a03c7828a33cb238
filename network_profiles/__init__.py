"""Network profiles as data: one TOML file each, with source, date and units."""
