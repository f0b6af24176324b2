// SPDX-License-Identifier: GPL-2.0-only
/* Dies in exit by a write through NULL: the module stays GOING for ever. */
#include <linux/compiler.h>
#include <linux/init.h>
#include <linux/module.h>

#ifndef FIXED
static int *nowhere;
#endif

static int __init exit_oops_init(void)
{
	return 0;
}

static void __exit exit_oops_exit(void)
{
#ifndef FIXED
	WRITE_ONCE(*nowhere, 1);
#endif
}

module_init(exit_oops_init);
module_exit(exit_oops_exit);
MODULE_DESCRIPTION("Fault: writes through NULL in exit");
MODULE_LICENSE("GPL");
