// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init, and has a dash in its file name where the kernel has an underscore. */
#include <linux/compiler.h>
#include <linux/init.h>
#include <linux/module.h>

#ifndef FIXED
static int *nowhere;
#endif

static int __init dashed_name_init(void)
{
#ifndef FIXED
	WRITE_ONCE(*nowhere, 1);
#endif
	return 0;
}

static void __exit dashed_name_exit(void)
{
}

module_init(dashed_name_init);
module_exit(dashed_name_exit);
MODULE_DESCRIPTION("Fault: writes through NULL in init; its file name has a dash");
MODULE_LICENSE("GPL");
