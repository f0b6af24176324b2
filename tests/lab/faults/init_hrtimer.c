// SPDX-License-Identifier: GPL-2.0-only
/* Arms a high-resolution timer, which arms itself again, and dies in init. */
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/version.h>

#include "dies.h"

#define LATER ms_to_ktime(1000)

static struct hrtimer init_hrtimer_timer;

static enum hrtimer_restart init_hrtimer_tick(struct hrtimer *timer)
{
	hrtimer_forward_now(timer, LATER);
	return HRTIMER_RESTART;
}

static int __init init_hrtimer_init(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	hrtimer_init(&init_hrtimer_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	init_hrtimer_timer.function = init_hrtimer_tick;
#else
	hrtimer_setup(&init_hrtimer_timer, init_hrtimer_tick, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL);
#endif
	hrtimer_start(&init_hrtimer_timer, LATER, HRTIMER_MODE_REL);
	return dies();
}

static void __exit init_hrtimer_exit(void)
{
	dies_late();
	hrtimer_cancel(&init_hrtimer_timer);
}

module_init(init_hrtimer_init);
module_exit(init_hrtimer_exit);
MODULE_DESCRIPTION("Fault: dies in init with a high-resolution timer armed");
MODULE_LICENSE("GPL");
