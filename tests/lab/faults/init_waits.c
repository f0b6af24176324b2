// SPDX-License-Identifier: GPL-2.0-only
/* Its kernel thread died, and init waits for that for ever: insmod lives. */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>

#include "dies.h"

static DECLARE_COMPLETION(ready);

static int init_waits_die(void *unused)
{
	dies();
	complete(&ready);
	return 0;
}

static int __init init_waits_init(void)
{
	struct task_struct *thread = kthread_run(init_waits_die, NULL, "lab_waited_for");

	if (IS_ERR(thread))
		return PTR_ERR(thread);
	wait_for_completion(&ready);
	return 0;
}

static void __exit init_waits_exit(void)
{
}

module_init(init_waits_init);
module_exit(init_waits_exit);
MODULE_DESCRIPTION("Fault: init waits for a thread that died");
MODULE_LICENSE("GPL");
