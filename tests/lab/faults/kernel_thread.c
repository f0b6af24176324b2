// SPDX-License-Identifier: GPL-2.0-only
/* Has a kernel thread asleep in its code, which exit stops. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>

static struct task_struct *thread;

static int kernel_thread_sleep(void *unused)
{
	while (!kthread_should_stop())
		msleep_interruptible(1000);
	return 0;
}

static int __init kernel_thread_init(void)
{
	thread = kthread_run(kernel_thread_sleep, NULL, "lab_sleeper");
	return PTR_ERR_OR_ZERO(thread);
}

static void __exit kernel_thread_exit(void)
{
	kthread_stop(thread);
}

module_init(kernel_thread_init);
module_exit(kernel_thread_exit);
MODULE_DESCRIPTION("Fault: a kernel thread asleep in the module's code");
MODULE_LICENSE("GPL");
