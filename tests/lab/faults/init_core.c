// SPDX-License-Identifier: GPL-2.0-only
/* Dies in its init, in a function of the kernel that it called. */
#include <linux/init.h>
#include <linux/module.h>

#include "dies_inside.h"

static int __init init_core_init(void)
{
	dies_inside();
	return 0;
}

static void __exit init_core_exit(void)
{
}

module_init(init_core_init);
module_exit(init_core_exit);
MODULE_DESCRIPTION("Fault: dies in init, in the kernel's code");
MODULE_LICENSE("GPL");
