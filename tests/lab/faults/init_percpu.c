// SPDX-License-Identifier: GPL-2.0-only
/* Has data of its own for each processor and dies in init: an offset could lead to them. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/percpu.h>

#include "leaves.h"

static DEFINE_PER_CPU(unsigned long, calls);

static int init_percpu_leave(void)
{
	this_cpu_inc(calls);
	return 0;
}

static void init_percpu_take_back(void)
{
}

LEAVES(init_percpu, "data of each processor");
