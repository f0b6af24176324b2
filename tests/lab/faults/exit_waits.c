// SPDX-License-Identifier: GPL-2.0-only
/* Is in its exit, which waits for ever for a work whose worker died. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "dies.h"

static void exit_waits_run(struct work_struct *work)
{
	dies();
}

static DECLARE_WORK(exit_waits_work, exit_waits_run);

static int __init exit_waits_init(void)
{
	schedule_work(&exit_waits_work);
	return 0;
}

static void __exit exit_waits_exit(void)
{
	flush_work(&exit_waits_work);
}

module_init(exit_waits_init);
module_exit(exit_waits_exit);
MODULE_DESCRIPTION("Fault: an exit that waits for a dead worker");
MODULE_LICENSE("GPL");
