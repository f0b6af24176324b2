// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init by a write through NULL: the module stays COMING for ever. */
#include <linux/compiler.h>
#include <linux/init.h>
#include <linux/module.h>

#ifndef FIXED
static int *nowhere;
#endif

static int __init init_oops_init(void)
{
#ifndef FIXED
	WRITE_ONCE(*nowhere, 1);
#endif
	return 0;
}

static void __exit init_oops_exit(void)
{
}

module_init(init_oops_init);
module_exit(init_oops_exit);
MODULE_DESCRIPTION("Fault: writes through NULL in init");
MODULE_LICENSE("GPL");
