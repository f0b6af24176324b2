// SPDX-License-Identifier: GPL-2.0-only
/* Loads and unloads. */
#include <linux/init.h>
#include <linux/module.h>

static int __init healthy_init(void)
{
	return 0;
}

static void __exit healthy_exit(void)
{
}

module_init(healthy_init);
module_exit(healthy_exit);
MODULE_DESCRIPTION("No fault: loads and unloads");
MODULE_LICENSE("GPL");
