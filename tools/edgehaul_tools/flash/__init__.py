"""Flashing: bring a bundle onto a device, through the installer that lives on the device."""
