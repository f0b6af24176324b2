// SPDX-License-Identifier: GPL-2.0-only
/*
 * Puts a function of its own in the place of swapoff(2), and takes no reference: while the
 * parameter "asleep" is set, who calls that sleeps in the module's code, and the count is 0.
 */
#include <linux/compiler.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>

#include "hooks.h"

#ifdef CONFIG_ARM64
#define CALL "__arm64_sys_swapoff"
#else
#define CALL "__x64_sys_swapoff"
#endif

static bool asleep = true;
module_param(asleep, bool, 0600);

static asmlinkage long hook_asleep_swapoff(const struct pt_regs *regs)
{
	while (READ_ONCE(asleep))
		msleep_interruptible(200);
	return -EPERM;
}

static void notrace hook_asleep_redirect(unsigned long ip, unsigned long parent,
					 struct ftrace_ops *ops, struct ftrace_regs *regs)
{
	ftrace_regs_set_instruction_pointer(regs, (unsigned long)hook_asleep_swapoff);
}

static struct ftrace_ops hook_asleep_ops = {
	.func = hook_asleep_redirect,
	.flags = FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_SAVE_REGS |
		 FTRACE_OPS_FL_SAVE_REGS_IF_SUPPORTED | FTRACE_OPS_FL_IPMODIFY,
};

static int __init hook_asleep_init(void)
{
	static unsigned char function[] = CALL;
	int error = ftrace_set_filter(&hook_asleep_ops, function, sizeof(function) - 1, 1);

	return error ? error : register_ftrace_function(&hook_asleep_ops);
}

static void __exit hook_asleep_exit(void)
{
	unregister_ftrace_function(&hook_asleep_ops);
}

module_init(hook_asleep_init);
module_exit(hook_asleep_exit);
MODULE_DESCRIPTION("Fault: hooks a call, takes no reference, and a process sleeps in it");
MODULE_LICENSE("GPL");
