// SPDX-License-Identifier: GPL-2.0-only
/* Queues a work, which queues another and frees itself, and dies in init: what leads to it moves */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "leaves.h"

static bool ends;

static int init_requeue_another(void);

static void init_requeue_run(struct work_struct *work)
{
	if (!READ_ONCE(ends))
		init_requeue_another();
	kfree(to_delayed_work(work));
}

static int init_requeue_another(void)
{
	struct delayed_work *work = kzalloc(sizeof(*work), GFP_KERNEL);

	if (!work)
		return -ENOMEM;
	INIT_DELAYED_WORK(work, init_requeue_run);
	schedule_delayed_work(work, 1);
	return 0;
}

static void init_requeue_take_back(void)
{
	WRITE_ONCE(ends, true);
	/* Which one is on its way, nobody knows. */
	schedule_timeout_uninterruptible(HZ);
}

#define init_requeue_leave init_requeue_another

LEAVES(init_requeue, "a delayed work queued, which queues another");
