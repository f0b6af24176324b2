// SPDX-License-Identifier: GPL-2.0-only
/* Sleeps in init for ever. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/module.h>

static int __init init_hang_init(void)
{
#ifndef FIXED
	for (;;)
		msleep(1000);
#endif
	return 0;
}

static void __exit init_hang_exit(void)
{
}

module_init(init_hang_init);
module_exit(init_hang_exit);
MODULE_DESCRIPTION("Fault: sleeps in init for ever");
MODULE_LICENSE("GPL");
