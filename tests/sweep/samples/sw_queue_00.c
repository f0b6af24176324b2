// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "steps.h"

static struct workqueue_struct *queue;

static void later(struct work_struct *work)
{
	served++;
	queue_delayed_work(queue, to_delayed_work(work), HZ / 4);
}

static DECLARE_DELAYED_WORK(work, later);

static int make_queue(void)
{
	queue = alloc_workqueue(NAME, WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_SYSFS, 0);
	return queue ? 0 : -ENOMEM;
}

static void drop_queue(void)
{
	destroy_workqueue(queue);
}

static int make_work(void)
{
	queue_delayed_work(queue, &work, HZ / 4);
	return 0;
}

static void drop_work(void)
{
	cancel_delayed_work_sync(&work);
}

static const struct step steps[] = {
	{ make_queue, drop_queue },
	{ make_work, drop_work },
};

SAMPLE("a workqueue with a work in it");
