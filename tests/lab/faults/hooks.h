/* SPDX-License-Identifier: GPL-2.0-only */
/* Names that ftrace has had since 5.11 and 6.2. */
#ifndef HOOKS_H
#define HOOKS_H

#include <linux/ftrace.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#define ftrace_regs pt_regs
#define FTRACE_OPS_FL_SAVE_REGS_IF_SUPPORTED FTRACE_OPS_FL_SAVE_REGS
#define FTRACE_OPS_FL_RECURSION FTRACE_OPS_FL_RECURSION_SAFE
#define ftrace_regs_set_instruction_pointer instruction_pointer_set
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
static inline void ftrace_regs_set_instruction_pointer(struct ftrace_regs *saved, unsigned long at)
{
	struct pt_regs *regs = ftrace_get_regs(saved);

	if (regs)
		instruction_pointer_set(regs, at);
}
#endif

#endif
