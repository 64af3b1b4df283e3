"""The small server for devices: a picture in, the anonymised picture out, nothing kept."""
