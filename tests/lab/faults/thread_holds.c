// SPDX-License-Identifier: GPL-2.0-only
/* Has a kernel thread that holds a reference, and ends itself once the parameter `end` is 1. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>

/* Its name before 5.17. */
#ifndef module_put_and_kthread_exit
#define module_put_and_kthread_exit module_put_and_exit
#endif

static bool end;
module_param(end, bool, 0644);

static int thread_holds_run(void *unused)
{
	while (!READ_ONCE(end))
		msleep_interruptible(500);
	module_put_and_kthread_exit(0);
	return 0;
}

static int __init thread_holds_init(void)
{
#ifndef FIXED
	struct task_struct *thread;

	__module_get(THIS_MODULE);
	thread = kthread_run(thread_holds_run, NULL, "lab_holder");
	if (IS_ERR(thread)) {
		module_put(THIS_MODULE);
		return PTR_ERR(thread);
	}
#endif
	return 0;
}

static void __exit thread_holds_exit(void)
{
}

module_init(thread_holds_init);
module_exit(thread_holds_exit);
MODULE_DESCRIPTION("Fault: a kernel thread that holds a reference");
MODULE_LICENSE("GPL");
