// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "steps.h"

static void later(struct work_struct *work)
{
	served++;
	schedule_delayed_work(to_delayed_work(work), HZ / 4);
}

static DECLARE_DELAYED_WORK(work, later);

static int make(void)
{
	schedule_delayed_work(&work, HZ / 4);
	return 0;
}

static void take_back(void)
{
	cancel_delayed_work_sync(&work);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a delayed work that queues itself again");
