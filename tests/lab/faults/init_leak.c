// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init when its works have run, and loses memory: nothing leads to it. */
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "dies.h"

#define SIZE 50000

static void init_leak_run(struct work_struct *unused)
{
	msleep(20);
}

static DECLARE_WORK(work, init_leak_run);
static DECLARE_DELAYED_WORK(delayed, init_leak_run);
static void *lost;

static int __init init_leak_init(void)
{
	struct work_struct *own = kzalloc(sizeof(*own), GFP_KERNEL);

	lost = vmalloc(SIZE);
	if (!own || !lost) {
		kfree(own);
		vfree(lost);
		return -ENOMEM;
	}
	INIT_WORK(own, init_leak_run);
	schedule_work(&work);
	schedule_work(own);
	schedule_delayed_work(&delayed, 2);
	flush_work(&work);
	flush_work(own);
	flush_delayed_work(&delayed);
	kfree(own);
	return dies();
}

static void __exit init_leak_exit(void)
{
	vfree(lost);
}

module_init(init_leak_init);
module_exit(init_leak_exit);
MODULE_DESCRIPTION("Fault: dies in init when all that it started has ended");
MODULE_LICENSE("GPL");
