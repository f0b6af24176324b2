// SPDX-License-Identifier: GPL-2.0-only
/* Is live; a worker died in its work, for which its exit does not wait. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "dies.h"

static void worker_died_run(struct work_struct *work)
{
	dies();
}

static DECLARE_WORK(worker_died_work, worker_died_run);

static int __init worker_died_init(void)
{
	schedule_work(&worker_died_work);
	return 0;
}

static void __exit worker_died_exit(void)
{
}

module_init(worker_died_init);
module_exit(worker_died_exit);
MODULE_DESCRIPTION("Fault: a worker that died");
MODULE_LICENSE("GPL");
