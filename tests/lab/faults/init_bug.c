// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init by BUG(). */
#include <linux/bug.h>
#include <linux/init.h>
#include <linux/module.h>

static int __init init_bug_init(void)
{
#ifndef FIXED
	BUG();
#endif
	return 0;
}

static void __exit init_bug_exit(void)
{
}

module_init(init_bug_init);
module_exit(init_bug_exit);
MODULE_DESCRIPTION("Fault: BUG() in init");
MODULE_LICENSE("GPL");
