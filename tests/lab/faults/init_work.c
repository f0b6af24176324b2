// SPDX-License-Identifier: GPL-2.0-only
/* Queues a delayed work, which queues itself again, and dies in init. */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "leaves.h"

static void init_work_run(struct work_struct *work)
{
	schedule_delayed_work(to_delayed_work(work), HZ);
}

static DECLARE_DELAYED_WORK(init_work_work, init_work_run);

static int init_work_leave(void)
{
	schedule_delayed_work(&init_work_work, HZ);
	return 0;
}

static void init_work_take_back(void)
{
	cancel_delayed_work_sync(&init_work_work);
}

LEAVES(init_work, "a delayed work queued");
