// SPDX-License-Identifier: GPL-2.0-only
/*
 * From 6.5 on finit_module(2) hashes an entry on the caller's stack; a task
 * that dies in init leaves it behind. With nobody inside finit_module(2)
 * every entry is such a leftover, and the table must be empty.
 */
#include <linux/delay.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/unistd.h>

#include "kmod_reset.h"

static bool in_finit_module(struct task_struct *task)
{
	struct pt_regs regs;

	/* A task that exits, or died in an oops, cannot have a valid entry. */
	if (task == current || task->flags & (PF_KTHREAD | PF_EXITING))
		return false;
	/* The stack of a task that ends meanwhile may go: never fault on it. */
	if (copy_from_kernel_nofault(&regs, task_pt_regs(task), sizeof(regs)))
		return false;
#ifdef CONFIG_X86
	return regs.orig_ax == __NR_finit_module;
#elif defined(CONFIG_ARM64)
	return regs.syscallno == __NR_finit_module;
#else
	return true;
#endif
}

static pid_t task_in_finit_module(void)
{
	struct task_struct *process, *task;
	pid_t pid = 0;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (in_finit_module(task)) {
			pid = task->pid;
			goto found;
		}
	}
found:
	rcu_read_unlock();
	return pid;
}

enum loader_result clear_loader(struct hlist_head *heads, unsigned int buckets, spinlock_t *lock,
				bool only_count, struct reset_report *r)
{
	enum loader_result result = LOADER_IN_USE;
	unsigned int bucket;
	int tries;

	for (tries = 0; !spin_trylock(lock); tries++) {
		if (tries == LOCK_TRIES)
			return LOADER_LOCK_BUSY;
		msleep(LOCK_PAUSE_MS);
	}
	r->loading_pid = task_in_finit_module();
	if (r->loading_pid)
		goto unlock;

	for (bucket = 0; bucket < buckets; bucket++) {
		if (hlist_empty(&heads[bucket]))
			continue;
		if (!only_count)
			INIT_HLIST_HEAD(&heads[bucket]);
		r->buckets++;
	}
	result = r->buckets ? LOADER_CLEARED : LOADER_CLEAN;
unlock:
	spin_unlock(lock);
	return result;
}
