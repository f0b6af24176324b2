// SPDX-License-Identifier: GPL-2.0-only
/* Arms a timer, which arms itself again each second, and dies in init. */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/timer.h>

#include "dies.h"

static void init_timer_tick(struct timer_list *timer)
{
	mod_timer(timer, jiffies + HZ);
}

static DEFINE_TIMER(init_timer_timer, init_timer_tick);

static int __init init_timer_init(void)
{
	mod_timer(&init_timer_timer, jiffies + HZ);
	return dies();
}

static void __exit init_timer_exit(void)
{
	dies_late();
	timer_delete_sync(&init_timer_timer);
}

module_init(init_timer_init);
module_exit(init_timer_exit);
MODULE_DESCRIPTION("Fault: dies in init with a timer armed");
MODULE_LICENSE("GPL");
