// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/ftrace.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

#include "steps.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#define ftrace_regs pt_regs
#endif

static struct tracepoint *point;

static void forked(void *unused, struct task_struct *parent, struct task_struct *child)
{
	served++;
}

static void find(struct tracepoint *candidate, void *unused)
{
	if (!strcmp(candidate->name, "sched_process_fork"))
		point = candidate;
}

static int make_point(void)
{
	for_each_kernel_tracepoint(find, NULL);
	return point ? tracepoint_probe_register(point, forked, NULL) : -ENOENT;
}

static void drop_point(void)
{
	tracepoint_probe_unregister(point, forked, NULL);
	tracepoint_synchronize_unregister();
}

static void traced(unsigned long address, unsigned long parent, struct ftrace_ops *ops,
		   struct ftrace_regs *regs)
{
}

static struct ftrace_ops tracer = {
	.func = traced,
};

static int make_tracer(void)
{
	int error = ftrace_set_filter(&tracer, "vfs_rmdir", strlen("vfs_rmdir"), 1);

	return error ? error : register_ftrace_function(&tracer);
}

static void drop_tracer(void)
{
	unregister_ftrace_function(&tracer);
}

static const struct step steps[] = {
	{ make_point, drop_point },
	{ make_tracer, drop_tracer },
};

SAMPLE("a probe of a tracepoint and a function tracer");
