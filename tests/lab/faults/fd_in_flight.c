// SPDX-License-Identifier: GPL-2.0-only
/* A character device whose only descriptor is in flight in a unix socket. */
#include "device.h"

MODULE_DESCRIPTION("Fault: a descriptor in flight");
