# SPDX-License-Identifier: Apache-2.0
"""Drivers of the accelerator: the C files that `terse driver` writes, and the same in Python."""

from firmware.driver.host import DriverError, Link, Terse, Windows, by_deadline
from firmware.driver.serial import SerialLink
from firmware.driver.uio import UioLink

__all__ = ["DriverError", "Link", "SerialLink", "Terse", "UioLink", "Windows", "by_deadline"]
