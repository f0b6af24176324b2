// SPDX-License-Identifier: GPL-2.0-only
/* Registers a bad clock source and dies in init. */
#include <linux/clocksource.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>

#include "leaves.h"

static u64 init_clocksource_read(struct clocksource *source)
{
	return get_jiffies_64();
}

static struct clocksource init_clocksource_source = {
	.name = "lab_clock",
	.rating = 2,
	.read = init_clocksource_read,
	.mask = CLOCKSOURCE_MASK(32),
};

static int init_clocksource_leave(void)
{
	return clocksource_register_hz(&init_clocksource_source, HZ);
}

static void init_clocksource_take_back(void)
{
	clocksource_unregister(&init_clocksource_source);
}

LEAVES(init_clocksource, "a clock source registered");
