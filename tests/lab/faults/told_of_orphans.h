/* SPDX-License-Identifier: GPL-2.0-only */
/* An entry in the queue on which the first process waits for its children. */
#ifndef TOLD_OF_ORPHANS_H
#define TOLD_OF_ORPHANS_H

#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

static int orphan_ended(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	return 0;
}

static inline struct wait_queue_head *ends_of_orphans(void)
{
	struct wait_queue_head *found;

	rcu_read_lock();
	found = &pid_task(find_vpid(1), PIDTYPE_PID)->signal->wait_chldexit;
	rcu_read_unlock();
	return found;
}

static inline void be_told_of_orphans(struct wait_queue_entry *entry)
{
	init_waitqueue_func_entry(entry, orphan_ended);
	add_wait_queue(ends_of_orphans(), entry);
}

static inline void be_told_no_more(struct wait_queue_entry *entry)
{
	remove_wait_queue(ends_of_orphans(), entry);
}

#endif
