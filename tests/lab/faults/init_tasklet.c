// SPDX-License-Identifier: GPL-2.0-only
/* Schedules a tasklet, which schedules itself again and so takes a CPU, and dies in init. */
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/module.h>

#include "leaves.h"

static bool ends;

static void init_tasklet_run(unsigned long data);
static struct tasklet_struct init_tasklet_tasklet = {
	.func = init_tasklet_run,
};

static void init_tasklet_run(unsigned long data)
{
	if (!READ_ONCE(ends))
		tasklet_schedule(&init_tasklet_tasklet);
}

static int init_tasklet_leave(void)
{
	tasklet_schedule(&init_tasklet_tasklet);
	return 0;
}

static void init_tasklet_take_back(void)
{
	WRITE_ONCE(ends, true);
	tasklet_kill(&init_tasklet_tasklet);
}

LEAVES(init_tasklet, "a tasklet scheduled");
