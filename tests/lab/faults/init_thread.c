// SPDX-License-Identifier: GPL-2.0-only
/* Starts a kernel thread, which sleeps in the module's code, and dies in init. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>

#include "dies.h"

static struct task_struct *thread;

static int init_thread_sleep(void *unused)
{
	while (!kthread_should_stop())
		msleep_interruptible(1000);
	return 0;
}

static int __init init_thread_init(void)
{
	thread = kthread_run(init_thread_sleep, NULL, "lab_thread");
	return IS_ERR(thread) ? PTR_ERR(thread) : dies();
}

static void __exit init_thread_exit(void)
{
	dies_late();
	kthread_stop(thread);
}

module_init(init_thread_init);
module_exit(init_thread_exit);
MODULE_DESCRIPTION("Fault: dies in init with a kernel thread started");
MODULE_LICENSE("GPL");
