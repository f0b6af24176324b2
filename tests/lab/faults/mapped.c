// SPDX-License-Identifier: GPL-2.0-only
/* A character device that a process has mapped, its descriptor closed. */
#include "device.h"

MODULE_DESCRIPTION("Fault: a device mapped by a process");
