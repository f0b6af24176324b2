// SPDX-License-Identifier: GPL-2.0-only
/* Makes a workqueue with a work that queues itself again, and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "leaves.h"

static struct workqueue_struct *queue;

static void init_workqueue_run(struct work_struct *work)
{
	queue_delayed_work(queue, to_delayed_work(work), HZ);
}

static DECLARE_DELAYED_WORK(init_workqueue_work, init_workqueue_run);

static int init_workqueue_leave(void)
{
	queue = alloc_workqueue("lab_queue", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	queue_delayed_work(queue, &init_workqueue_work, HZ);
	return 0;
}

static void init_workqueue_take_back(void)
{
	cancel_delayed_work_sync(&init_workqueue_work);
	destroy_workqueue(queue);
}

LEAVES(init_workqueue, "a workqueue made");
