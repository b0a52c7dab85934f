"""The sections of the device check: each module has `run(device, tiny, record)`."""
