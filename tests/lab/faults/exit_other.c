// SPDX-License-Identifier: GPL-2.0-only
/* Is live and unused; where the kernel looks for its exit is another function of it. */
#include <linux/init.h>
#include <linux/module.h>

#include "dies.h"

static void exit_other_wrong(void)
{
	dies();
}

static int __init exit_other_init(void)
{
#ifndef FIXED
	THIS_MODULE->exit = exit_other_wrong;
#endif
	return 0;
}

static void __exit exit_other_exit(void)
{
}

module_init(exit_other_init);
module_exit(exit_other_exit);
MODULE_DESCRIPTION("Fault: the kernel takes another function for its exit");
MODULE_LICENSE("GPL");
