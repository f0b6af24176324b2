// SPDX-License-Identifier: GPL-2.0-only
/* Its exit takes the whole host with it: for a fleet that must stop then. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init exit_panic_init(void)
{
#ifndef FIXED
	__module_get(THIS_MODULE);
#endif
	return 0;
}

static void __exit exit_panic_exit(void)
{
#ifndef FIXED
	panic("lab: exit_panic");
#endif
}

module_init(exit_panic_init);
module_exit(exit_panic_exit);
MODULE_DESCRIPTION("Fault: a leaked reference, and an exit that panics");
MODULE_LICENSE("GPL");
