// SPDX-License-Identifier: GPL-2.0-only
/* Dies in its exit, in a function of the kernel that it called. */
#include <linux/init.h>
#include <linux/module.h>

#include "dies_inside.h"

static int __init exit_core_init(void)
{
	return 0;
}

static void __exit exit_core_exit(void)
{
	dies_inside();
}

module_init(exit_core_init);
module_exit(exit_core_exit);
MODULE_DESCRIPTION("Fault: dies in exit, in the kernel's code");
MODULE_LICENSE("GPL");
