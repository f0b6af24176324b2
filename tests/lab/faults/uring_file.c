// SPDX-License-Identifier: GPL-2.0-only
/* A character device that is open as a registered file of an io_uring alone. */
#include "device.h"

MODULE_DESCRIPTION("Fault: a file of an io_uring");
