// SPDX-License-Identifier: GPL-2.0-only
/* Traces calls of vfs_rmdir and dies in init. */
#include <linux/ftrace.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/version.h>

#include "leaves.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#define ftrace_regs pt_regs
#endif

static void init_ftrace_hit(unsigned long address, unsigned long parent, struct ftrace_ops *ops,
			    struct ftrace_regs *regs)
{
}

static struct ftrace_ops init_ftrace_ops = {
	.func = init_ftrace_hit,
};

static int init_ftrace_leave(void)
{
	int error = ftrace_set_filter(&init_ftrace_ops, "vfs_rmdir", strlen("vfs_rmdir"), 1);

	return error ? error : register_ftrace_function(&init_ftrace_ops);
}

static void init_ftrace_take_back(void)
{
	unregister_ftrace_function(&init_ftrace_ops);
}

LEAVES(init_ftrace, "a function traced");
