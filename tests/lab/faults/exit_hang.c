// SPDX-License-Identifier: GPL-2.0-only
/* Sleeps in exit for ever. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/module.h>

static int __init exit_hang_init(void)
{
	return 0;
}

static void __exit exit_hang_exit(void)
{
#ifndef FIXED
	for (;;)
		ssleep(60);
#endif
}

module_init(exit_hang_init);
module_exit(exit_hang_exit);
MODULE_DESCRIPTION("Fault: sleeps in exit for ever");
MODULE_LICENSE("GPL");
