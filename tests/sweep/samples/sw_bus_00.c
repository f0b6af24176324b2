// SPDX-License-Identifier: GPL-2.0-only
#include <linux/device.h>

#include "steps.h"

static struct bus_type bus = {
	.name = NAME,
};

static int make(void)
{
	return bus_register(&bus);
}

static void take_back(void)
{
	bus_unregister(&bus);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a bus");
