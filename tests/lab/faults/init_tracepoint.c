// SPDX-License-Identifier: GPL-2.0-only
/* Probes the tracepoint sched_process_fork and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "leaves.h"

static struct tracepoint *point;

static void init_tracepoint_hit(void *unused, struct task_struct *parent, struct task_struct *child)
{
}

static void init_tracepoint_find(struct tracepoint *candidate, void *unused)
{
	if (!strcmp(candidate->name, "sched_process_fork"))
		point = candidate;
}

static int init_tracepoint_leave(void)
{
	for_each_kernel_tracepoint(init_tracepoint_find, NULL);
	return point ? tracepoint_probe_register(point, init_tracepoint_hit, NULL) : -ENOENT;
}

static void init_tracepoint_take_back(void)
{
	tracepoint_probe_unregister(point, init_tracepoint_hit, NULL);
	tracepoint_synchronize_unregister();
}

LEAVES(init_tracepoint, "a tracepoint probed");
