// SPDX-License-Identifier: GPL-2.0-only
/* Whoever reads /dev/polls calls what it took, and has its address in a register alone. */
#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/processor.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "polls.h"

static void (*taken)(void);

void polls_take(void (*function)(void))
{
	WRITE_ONCE(taken, function);
}
EXPORT_SYMBOL_GPL(polls_take);

static ssize_t polls_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	void (*function)(void);

	function = xchg(&taken, NULL);
	while (function && !fatal_signal_pending(current)) {
		unsigned long until = jiffies + HZ;

		while (time_before(jiffies, until)) {
			cpu_relax();
			cond_resched();
		}
		function();
	}
	return 0;
}

static const struct file_operations polls_operations = {
	.owner = THIS_MODULE,
	.read = polls_read,
};

static struct miscdevice polls_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "polls",
	.fops = &polls_operations,
};

module_misc_device(polls_device);
MODULE_DESCRIPTION("Fault: calls another module without an end");
MODULE_LICENSE("GPL");
