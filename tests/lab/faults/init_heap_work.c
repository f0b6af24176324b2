// SPDX-License-Identifier: GPL-2.0-only
/* Queues a delayed work in heap memory, which queues itself again, and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "leaves.h"

static struct delayed_work *work;

static void init_heap_work_run(struct work_struct *unused)
{
	schedule_delayed_work(work, HZ);
}

static int init_heap_work_leave(void)
{
	work = kzalloc(sizeof(*work), GFP_KERNEL);
	if (!work)
		return -ENOMEM;
	INIT_DELAYED_WORK(work, init_heap_work_run);
	schedule_delayed_work(work, HZ);
	return 0;
}

static void init_heap_work_take_back(void)
{
	cancel_delayed_work_sync(work);
	kfree(work);
}

LEAVES(init_heap_work, "a delayed work queued");
