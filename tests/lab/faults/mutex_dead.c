// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel thread of it dies with a mutex held: with that at the address "mutex", which is the
 * kernel's module_mutex in the lab. It waits until the module itself is loaded.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "dies.h"

static unsigned long mutex;
module_param(mutex, ulong, 0444);

static int mutex_dead_take(void *unused)
{
	ssleep(5);
	if (mutex) {
		mutex_lock((struct mutex *)mutex);
		dies();
		mutex_unlock((struct mutex *)mutex);
	}
	return 0;
}

static int __init mutex_dead_init(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(mutex_dead_take, NULL, "lab_mutex"));
}

static void __exit mutex_dead_exit(void)
{
}

module_init(mutex_dead_init);
module_exit(mutex_dead_exit);
MODULE_DESCRIPTION("Fault: a kernel thread dies with a mutex held");
MODULE_LICENSE("GPL");
